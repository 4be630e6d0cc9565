//! A reader of the kernel's BTF: where a structure's member lies, and how a function's arguments are called.
//!
//! Only that. aya resolves attach points itself; this walks what the manifest of kernel fields needs. The
//! bytes come from the running kernel, or from a file that a test names, and are not trusted either way.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

/// Nesting of anonymous members, and of modifiers in front of a type, beyond which the input is nonsense.
const DEPTH_MAX: usize = 32;
const MAGIC: u16 = 0xeb9f;

/// What is wrong with the bytes.
#[derive(Debug, Error)]
pub(crate) enum BtfError {
    /// Not BTF at all, or of the other byte order.
    #[error("not BTF of this machine's byte order")]
    NotBtf,
    /// It ends early.
    #[error("BTF is cut short: {what} at byte {at}")]
    Short {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A kind of type newer than this reader: its length is unknown, so nothing after it can be found.
    #[error("BTF type {id} has unknown kind {kind}")]
    UnknownKind {
        /// Its id.
        id: u32,
        /// The number of the kind.
        kind: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Struct,
    Union,
    Modifier,
    Enum,
    Func,
    FuncProto,
    Other,
}

/// Parsed BTF, indexed by the names that were asked for.
pub(crate) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Start of each type in `types`, by id - 1.
    starts: Vec<u32>,
    structs: HashMap<&'a [u8], Vec<u32>>,
    functions: HashMap<&'a [u8], u32>,
    enums: HashMap<&'a [u8], u32>,
}

#[derive(Clone, Copy)]
struct Type {
    kind: Kind,
    vlen: usize,
    kind_flag: bool,
    name: u32,
    /// Size or referenced type, by kind.
    size_or_type: u32,
    /// Where what follows the fixed part begins.
    tail: usize,
}

impl<'a> Btf<'a> {
    /// Reads `bytes` and indexes the structures and functions named in `wanted`: indexing every name of a
    /// kernel costs a hundred times as much.
    pub(crate) fn parse(bytes: &'a [u8], wanted: &HashSet<&str>) -> Result<Self, BtfError> {
        if u16_at(bytes, 0) != Some(MAGIC) {
            return Err(BtfError::NotBtf);
        }
        let field = |at| u32_at(bytes, at).map(|n| n as usize).ok_or(BtfError::Short { what: "header", at });
        let (header, type_off, type_len, str_off, str_len) =
            (field(4)?, field(8)?, field(12)?, field(16)?, field(20)?);
        let section = |off: usize, len: usize, what| {
            let from = header.saturating_add(off);
            bytes.get(from..from.saturating_add(len)).ok_or(BtfError::Short { what, at: from })
        };
        let types = section(type_off, type_len, "type section")?;
        let strings = section(str_off, str_len, "string section")?;
        let mut btf = Self {
            types,
            strings,
            starts: Vec::new(),
            structs: HashMap::new(),
            functions: HashMap::new(),
            enums: HashMap::new(),
        };
        btf.index(wanted)?;
        Ok(btf)
    }

    fn index(&mut self, wanted: &HashSet<&str>) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let id = self.starts.len() as u32 + 1;
            let (ty, next) = self.read_type(at, id)?;
            self.starts.push(at as u32);
            let name = self.string(ty.name);
            if std::str::from_utf8(name).is_ok_and(|name| wanted.contains(name)) {
                match ty.kind {
                    Kind::Struct | Kind::Union => self.structs.entry(name).or_default().push(id),
                    Kind::Func => drop(self.functions.insert(name, id)),
                    Kind::Enum => drop(self.enums.insert(name, id)),
                    Kind::Modifier | Kind::FuncProto | Kind::Other => {}
                }
            }
            at = next;
        }
        Ok(())
    }

    /// The type at `at`, and where the next one begins.
    fn read_type(&self, at: usize, id: u32) -> Result<(Type, usize), BtfError> {
        let word = |n: usize| u32_at(self.types, at + 4 * n).ok_or(BtfError::Short { what: "type", at });
        let (name, info, size_or_type) = (word(0)?, word(1)?, word(2)?);
        let vlen = (info & 0xffff) as usize;
        let number = (info >> 24) & 0x1f;
        let (kind, tail_bytes) = match number {
            1 => (Kind::Other, 4),              // INT
            2 | 7 => (Kind::Other, 0),          // PTR, FWD
            3 => (Kind::Other, 12),             // ARRAY
            4 => (Kind::Struct, 12 * vlen),     // STRUCT
            5 => (Kind::Union, 12 * vlen),      // UNION
            6 => (Kind::Enum, 8 * vlen),        // ENUM
            8..=11 | 18 => (Kind::Modifier, 0), // TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG
            12 => (Kind::Func, 0),              // FUNC
            13 => (Kind::FuncProto, 8 * vlen),  // FUNC_PROTO
            14 => (Kind::Other, 4),             // VAR
            15 => (Kind::Other, 12 * vlen),     // DATASEC
            16 => (Kind::Other, 0),             // FLOAT
            17 => (Kind::Other, 4),             // DECL_TAG
            19 => (Kind::Other, 12 * vlen),     // ENUM64
            kind => return Err(BtfError::UnknownKind { id, kind }),
        };
        let tail = at + 12;
        Ok((Type { kind, vlen, kind_flag: info >> 31 == 1, name, size_or_type, tail }, tail + tail_bytes))
    }

    fn type_by_id(&self, id: u32) -> Option<Type> {
        let at = *self.starts.get(id.checked_sub(1)? as usize)?;
        self.read_type(at as usize, id).ok().map(|(ty, _)| ty)
    }

    /// A NUL-ended string; empty when the offset is wrong.
    fn string(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Byte offset of the member that `path` leads to from the structure of that name; `None` if any step is
    /// missing or is a bit field.
    pub(crate) fn member_offset(&self, structure: &str, path: &str) -> Option<u32> {
        // A name can stand for several types (a driver's private `struct path`): the first that fits.
        self.structs.get(structure.as_bytes())?.iter().find_map(|id| {
            let mut ty = self.type_by_id(*id)?;
            let mut bits = 0;
            for name in path.split('.') {
                let (offset, next) = self.member(ty, name.as_bytes(), 0)?;
                bits += offset;
                ty = self.resolve(next)?;
            }
            (bits % 8 == 0).then_some(bits / 8)
        })
    }

    /// The member's bit offset and type, looking through anonymous structures and unions.
    fn member(&self, ty: Type, wanted: &[u8], depth: usize) -> Option<(u32, u32)> {
        if depth > DEPTH_MAX || !matches!(ty.kind, Kind::Struct | Kind::Union) {
            return None;
        }
        (0..ty.vlen).find_map(|n| {
            let at = ty.tail + 12 * n;
            let (name, id, raw) =
                (u32_at(self.types, at)?, u32_at(self.types, at + 4)?, u32_at(self.types, at + 8)?);
            let (offset, bit_field) =
                if ty.kind_flag { (raw & 0xff_ffff, raw >> 24 != 0) } else { (raw, false) };
            if name == 0 {
                let (inner, inner_id) = self.member(self.resolve(id)?, wanted, depth + 1)?;
                Some((offset.checked_add(inner)?, inner_id))
            } else {
                (self.string(name) == wanted && !bit_field).then_some((offset, id))
            }
        })
    }

    /// Skips typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEPTH_MAX {
            let ty = self.type_by_id(id)?;
            if ty.kind != Kind::Modifier {
                return Some(ty);
            }
            id = ty.size_or_type;
        }
        None
    }

    /// The value of an enumerator; `None` if the kernel has no such enumeration, or no such name in it.
    pub(crate) fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let ty = self.type_by_id(*self.enums.get(enumeration.as_bytes())?)?;
        (0..ty.vlen).find_map(|n| {
            let at = ty.tail + 8 * n;
            (self.string(u32_at(self.types, at)?) == name.as_bytes()).then(|| u32_at(self.types, at + 4))?
        })
    }

    /// Whether the kernel has such an enumeration.
    pub(crate) fn has_enumeration(&self, enumeration: &str) -> bool {
        self.enums.contains_key(enumeration.as_bytes())
    }

    /// The names of a function's parameters in order; `None` if the kernel has no such function.
    pub(crate) fn parameters(&self, function: &str) -> Option<Vec<String>> {
        let id = self.functions.get(function.as_bytes())?;
        let proto = self.type_by_id(self.type_by_id(*id)?.size_or_type)?;
        if proto.kind != Kind::FuncProto {
            return None;
        }
        (0..proto.vlen)
            .map(|n| {
                let name = u32_at(self.types, proto.tail + 8 * n)?;
                Some(String::from_utf8_lossy(self.string(name)).into_owned())
            })
            .collect()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
