//! Who the other side says that it is: certificates of an authority that the test makes.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use super::*;

/// An authority, and the file that names it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server whose certificate this authority has signed.
    fn server(&self, name: &str, until: i32) -> Stub {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap());
        Stub::with_tls(Arc::new(config.unwrap()))
    }
}

fn trusting(stub: &Stub, ca_file: std::path::PathBuf) -> Endpoint {
    Endpoint { ca_file, ..endpoint(&stub.url) }
}

/// What is said of a server that is not trusted; nothing goes there, and what waits arrives once another is.
fn refused(stub: &Stub, ca_file: std::path::PathBuf) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (remote, said) = open(folder.path(), Bulk::new(trusting(stub, ca_file), true).unwrap());
    put(&remote, 0..3);
    wait("trouble", || remote.shared.sent().trouble.is_some());
    assert_eq!(remote.close().dropped(), 0);
    assert_eq!((stub.documents(), stub.state.lock().unwrap().requests.len()), (0, 0));
    let right = Authority::new("right");
    let stub = right.server("127.0.0.1", 2100);
    let (remote, _) = open(folder.path(), Bulk::new(trusting(&stub, right.file()), true).unwrap());
    all_dealt_with(&remote, 3);
    assert_eq!(stub.documents(), 3);
    let said = said.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    said.concat()
}

#[test]
fn a_server_of_the_authority_is_trusted_by_address_and_by_name() {
    let authority = Authority::new("ours");
    for name in ["127.0.0.1", "localhost"] {
        let mut stub = authority.server(name, 2100);
        stub.url = stub.url.replace("127.0.0.1", name);
        let folder = tempfile::tempdir().unwrap();
        let (remote, said) = open(folder.path(), Bulk::new(trusting(&stub, authority.file()), true).unwrap());
        put(&remote, 0..10);
        all_dealt_with(&remote, 10);
        assert_eq!(stub.documents(), 10);
        assert_eq!(*said.lock().unwrap(), Vec::<String>::new());
        assert_eq!(remote.close().dropped(), 0);
        let (remote, _) = open(folder.path(), Webhook::new(trusting(&stub, authority.file())).unwrap());
        put(&remote, 10..11);
        all_dealt_with(&remote, 1);
        assert_eq!(stub.documents(), 11);
    }
}

#[test]
fn a_server_of_another_authority_gets_nothing() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let said = refused(&other.server("127.0.0.1", 2100), ours.file());
    assert!(
        said.contains("its certificate is not trusted: invalid peer certificate: UnknownIssuer"),
        "{said}"
    );
    assert!(said.contains("ca_file"), "{said}");
    // Nor without any authority of ours: the system's do not know it.
    let said = refused(&other.server("127.0.0.1", 2100), Default::default());
    assert!(said.contains("its certificate is not trusted: "), "{said}");
}

#[test]
fn a_certificate_of_another_host_or_time_is_refused() {
    let authority = Authority::new("ours");
    let said = refused(&authority.server("es.example", 2100), authority.file());
    assert!(said.contains("its certificate is not trusted: ") && said.contains("es.example"), "{said}");
    let said = refused(&authority.server("127.0.0.1", 2001), authority.file());
    assert!(said.contains("its certificate is not trusted: ") && said.contains("expired"), "{said}");
}

#[test]
fn a_server_without_tls_gets_nothing() {
    let mut stub = Stub::start([]);
    stub.url = stub.url.replace("http:", "https:");
    let said = refused(&stub, Authority::new("ours").file());
    assert!(said.contains("does not take documents"), "{said}");
}

#[test]
fn a_file_without_authorities_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([]);
    let missing = folder.path().join("missing.pem");
    let (empty, nonsense) = (folder.path().join("empty.pem"), folder.path().join("nonsense.pem"));
    fs::write(&empty, "").unwrap();
    fs::write(&nonsense, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    for file in [missing, empty, nonsense] {
        let name = file.display().to_string();
        let error = format!("{:#}", Bulk::new(trusting(&stub, file), true).map(drop).unwrap_err());
        assert!(error.contains(&name), "{error}");
    }
}
