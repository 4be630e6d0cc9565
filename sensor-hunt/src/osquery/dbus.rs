//! As much of D-Bus as asking systemd for its units takes: calls with text arguments, replies read strictly.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Where systemd answers: the system's bus, and systemd's own socket for root where there is no bus.
const BUS: &str = "/run/dbus/system_bus_socket";
const PRIVATE: &str = "/run/systemd/private";

/// The limit of D-Bus itself.
const MESSAGE_BYTES_MAX: usize = 128 << 20;
const LINE_BYTES_MAX: usize = 4096;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Signals between a call and its reply.
const OTHERS_MAX: usize = 10_000;

/// A connection to systemd.
pub(crate) struct Connection {
    stream: UnixStream,
    serial: u32,
}

/// A unit, as `ListUnits` of `org.freedesktop.systemd1.Manager` gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub id: Vec<u8>,
    pub description: Vec<u8>,
    pub load_state: Vec<u8>,
    pub active_state: Vec<u8>,
    pub sub_state: Vec<u8>,
    pub following: Vec<u8>,
    pub path: Vec<u8>,
    pub job_id: u32,
    pub job_type: Vec<u8>,
    pub job_path: Vec<u8>,
}

const MANAGER: &str = "org.freedesktop.systemd1";

impl Connection {
    /// Connects to the systemd of this machine.
    pub(crate) fn system() -> io::Result<Self> {
        Self::bus(Path::new(BUS)).or_else(|first| Self::direct(Path::new(PRIVATE)).map_err(|_| first))
    }

    /// Connects to a bus.
    pub(crate) fn bus(path: &Path) -> io::Result<Self> {
        let mut connection = Self::direct(path)?;
        connection.call(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "Hello",
            &[],
        )?;
        Ok(connection)
    }

    fn direct(path: &Path) -> io::Result<Self> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let id = rustix::process::geteuid().as_raw().to_string();
        let id: String = id.bytes().map(|digit| format!("{digit:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {id}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.extend_from_slice(&byte);
            if line.len() > LINE_BYTES_MAX {
                return Err(bad("the answer to AUTH is too long"));
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the bus refused AUTH EXTERNAL"));
        }
        stream.write_all(b"BEGIN\r\n")?;
        Ok(Self { stream, serial: 0 })
    }

    /// Every unit that systemd has loaded.
    pub(crate) fn units(&mut self) -> io::Result<Vec<Unit>> {
        let path = "/org/freedesktop/systemd1";
        let body = self.call(MANAGER, path, "org.freedesktop.systemd1.Manager", "ListUnits", &[])?;
        let mut reader = Reader { bytes: &body, at: 0 };
        let end = reader.array(8)?;
        let mut units = Vec::new();
        while reader.at < end {
            reader.align(8)?;
            units.push(Unit {
                id: reader.text()?,
                description: reader.text()?,
                load_state: reader.text()?,
                active_state: reader.text()?,
                sub_state: reader.text()?,
                following: reader.text()?,
                path: reader.text()?,
                job_id: reader.word()?,
                job_type: reader.text()?,
                job_path: reader.text()?,
            });
        }
        Ok(units)
    }

    /// A property of a unit that is text; empty if the unit has none of that name.
    pub(crate) fn text_property(&mut self, unit: &[u8], interface: &str, name: &str) -> io::Result<Vec<u8>> {
        let path = String::from_utf8_lossy(unit).into_owned();
        let interface = format!("{MANAGER}.{interface}");
        let properties = "org.freedesktop.DBus.Properties";
        match self.call(MANAGER, &path, properties, "Get", &[&interface, name]) {
            Ok(body) => {
                let mut reader = Reader { bytes: &body, at: 0 };
                let signature = reader.signature()?;
                if signature == b"s" || signature == b"o" {
                    reader.text()
                } else {
                    Err(bad("a property is no text"))
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::Other => Ok(Vec::new()),
            Err(cause) => Err(cause),
        }
    }

    fn call(
        &mut self,
        to: &str,
        path: &str,
        interface: &str,
        member: &str,
        arguments: &[&str],
    ) -> io::Result<Vec<u8>> {
        self.serial += 1;
        let mut body = Vec::new();
        for argument in arguments {
            put_text(&mut body, argument);
        }
        let mut fields = Vec::new();
        for (code, kind, value) in [(1, b'o', path), (2, b's', interface), (3, b's', member), (6, b's', to)] {
            pad(&mut fields, 8);
            fields.extend_from_slice(&[code, 1, kind, 0]);
            put_text(&mut fields, value);
        }
        if !arguments.is_empty() {
            pad(&mut fields, 8);
            fields.extend_from_slice(&[8, 1, b'g', 0, length(arguments.len())? as u8]);
            fields.extend(std::iter::repeat_n(b's', arguments.len()));
            fields.push(0);
        }
        let mut message = vec![b'l', 1, 0, 1];
        message.extend_from_slice(&length(body.len())?.to_le_bytes());
        message.extend_from_slice(&self.serial.to_le_bytes());
        message.extend_from_slice(&length(fields.len())?.to_le_bytes());
        message.extend_from_slice(&fields);
        pad(&mut message, 8);
        message.extend_from_slice(&body);
        self.stream.write_all(&message)?;
        for _ in 0..OTHERS_MAX {
            if let Some(body) = self.receive()? {
                return Ok(body);
            }
        }
        Err(bad("no reply among many messages"))
    }

    /// The body of the next message if it is the reply; a reply that is an error is one of kind `Other`.
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let [order, kind, _, _, rest @ ..] = head;
        if order != b'l' {
            return Err(bad("a message in another byte order"));
        }
        let word = |at: usize| -> usize {
            rest.get(at..at + 4)
                .and_then(|it| it.try_into().ok())
                .map_or(usize::MAX, |it| u32::from_le_bytes(it) as usize)
        };
        let (body_length, fields_length) = (word(0), word(8));
        if body_length > MESSAGE_BYTES_MAX || fields_length > MESSAGE_BYTES_MAX {
            return Err(bad("a message is too long"));
        }
        let mut fields = vec![0; fields_length.next_multiple_of(8)];
        self.stream.read_exact(&mut fields)?;
        let mut body = vec![0; body_length];
        self.stream.read_exact(&mut body)?;
        let mut reader = Reader { bytes: fields.get(..fields_length).unwrap_or_default(), at: 0 };
        let (mut answers, mut error) = (None, Vec::new());
        while reader.at < fields_length {
            reader.align(8)?;
            let code = reader.byte()?;
            match reader.signature()?.as_slice() {
                b"u" => {
                    let value = reader.word()?;
                    answers = if code == 5 { Some(value) } else { answers };
                }
                b"s" | b"o" => {
                    let value = reader.text()?;
                    error = if code == 4 { value } else { error };
                }
                b"g" => drop(reader.signature()?),
                _ => return Err(bad("an unknown field")),
            }
        }
        match (kind, answers == Some(self.serial)) {
            (2, true) => Ok(Some(body)),
            (3, true) => Err(io::Error::other(String::from_utf8_lossy(&error).into_owned())),
            _ => Ok(None),
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("D-Bus: {what}"))
}

fn length(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(|_| bad("too long"))
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

/// Reads what was marshalled, from the start of a body, where everything is aligned.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) -> io::Result<()> {
        self.at = self.at.next_multiple_of(to);
        if self.at > self.bytes.len() { Err(bad("cut short")) } else { Ok(()) }
    }

    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or_else(|| bad("cut short"))?;
        let taken = self.bytes.get(self.at..end).ok_or_else(|| bad("cut short"))?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.take(1)?.first().copied().ok_or_else(|| bad("cut short"))
    }

    fn word(&mut self) -> io::Result<u32> {
        self.align(4)?;
        Ok(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| bad("cut short"))?))
    }

    fn text(&mut self) -> io::Result<Vec<u8>> {
        let length = self.word()? as usize;
        let text = self.take(length)?.to_vec();
        self.byte()?;
        Ok(text)
    }

    fn signature(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::from(self.byte()?);
        let text = self.take(length)?.to_vec();
        self.byte()?;
        Ok(text)
    }

    /// Where an array of elements with this alignment ends.
    fn array(&mut self, alignment: usize) -> io::Result<usize> {
        let length = self.word()? as usize;
        self.align(alignment)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        end.ok_or_else(|| bad("cut short"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::{Connection, Reader};

    /// A real bus takes the greeting and the call, and says that no systemd is on it.
    #[test]
    fn a_bus_is_spoken_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus");
        let address = format!("--address=unix:path={}", path.display());
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--nofork", "--nopidfile", &address]).stderr(Stdio::null());
        let Ok(mut daemon) = command.spawn() else {
            eprintln!("skipped: there is no dbus-daemon");
            return;
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let connected = loop {
            match Connection::bus(&path) {
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                result => break result,
            }
        };
        let listed = connected.map(|mut connection| connection.units());
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let error = listed.unwrap().unwrap_err();
        assert!(error.to_string().starts_with("org.freedesktop.DBus.Error."), "{error}");
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let mut reader = Reader { bytes: &[255, 255, 255, 255, 1], at: 0 };
        assert!(reader.text().is_err() && reader.array(8).is_err() && reader.signature().is_err());
    }
}
