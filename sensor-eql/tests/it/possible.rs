//! Which rules can match at all on the events that this sensor records.

use sensor_ecs::Ecs;
use sensor_eql::{compile, parse};

#[test]
fn a_query_can_match_unless_it_needs_what_never_comes() {
    for (can, source) in [
        (true, "process where process.name == \"a\" and not process.code_signature.trusted == true"),
        (true, "process where process.name == \"a\" or process.pe.original_file_name == \"b\""),
        (true, "any where process.pe.original_file_name == null and ?no.such.field != \"x\""),
        (true, "process where not startsWith(process.pe.original_file_name, \"x\")"),
        (false, "process where process.pe.original_file_name : \"*\" and process.name == \"a\""),
        (false, "process where ?no.such.field == \"x\" or false"),
        (false, "process where length(process.pe.original_file_name) > 3"),
        (false, "process where not process.pe.original_file_name == null"),
        (false, "network where process.name == \"a\""),
        (true, "sequence by host.id [process where true] [file where true] until [network where true]"),
        (true, "sequence by ?no.such.key [process where true] [file where true]"),
        (false, "sequence by no.such.key [process where true] [file where true]"),
        (false, "sequence by host.id [process where true] [network where true]"),
        (false, "sample by host.id [process where true] [dns where true]"),
    ] {
        let compiled = compile(&parse(source).unwrap(), &Ecs).unwrap();
        assert_eq!(compiled.can_match(&Ecs), can, "{source}");
    }
}

#[test]
fn what_must_be_missing_must_be_seen() {
    for (unseen, missing) in [
        (true, "network where true"),
        (true, "process where process.pe.original_file_name == \"x\""),
        (false, "process where process.name == \"x\""),
    ] {
        let source = format!("sequence by host.id with maxspan=1m [process where true] ![{missing}]");
        let compiled = compile(&parse(&source).unwrap(), &Ecs).unwrap();
        assert_eq!(compiled.misses_unseen(&Ecs), unseen, "{source}");
    }
}
