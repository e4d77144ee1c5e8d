//! The running kernel's type information (BTF): where a field lies, whether a tracepoint exists.
//!
//! Format: `Documentation/bpf/btf.rst` of the kernel. Read once at start; a damaged file gives an error, never a panic.

use std::path::Path;

/// Where kernels publish their own.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// Larger files are refused: kernels have 4 to 10 MB.
const BTF_BYTES_MAX: u64 = 64 << 20;
/// Anonymous structures nest at most this deep.
const NESTING_MAX: u32 = 16;

const MAGIC: u16 = 0xeb9f;
const KIND_POINTER: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNCTION: u32 = 12;

/// Why BTF could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// Not there or not readable.
    #[error(
        "cannot read {path}: {source}. Eastwatch needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (5.10 or later; all current \
         distributions have it)"
    )]
    Read {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// Not BTF.
    #[error("{path} is not valid BTF: {what}")]
    Damaged {
        /// File.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A field that this kernel does not have.
    #[error(
        "this kernel's BTF has no field {structure}.{field}: the kernel is older or newer than those Eastwatch knows"
    )]
    NoField {
        /// Structure.
        structure: String,
        /// Member.
        field: String,
    },
}

/// Parsed BTF.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Byte offset of each type; index 0 is void.
    types: Vec<usize>,
}

impl Btf {
    /// Reads the running kernel's.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn kernel() -> Result<Self, BtfError> {
        Self::read(Path::new(KERNEL_BTF))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        use std::io::Read;
        let name = path.display().to_string();
        let mut data = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(BTF_BYTES_MAX).read_to_end(&mut data))
            .map_err(|source| BtfError::Read {
                path: name.clone(),
                source,
            })?;
        Self::parse(data).map_err(|what| BtfError::Damaged { path: name, what })
    }

    /// Parses the content of a file or section.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(data: Vec<u8>) -> Result<Self, &'static str> {
        let word = |at: usize| read_u32(&data, at).map(|value| value as usize);
        let magic = data.first_chunk::<2>().map(|bytes| u16::from_le_bytes(*bytes));
        if magic != Some(MAGIC) {
            return Err("wrong magic number (or other byte order)");
        }
        let cut = "cut off";
        let header = word(4).ok_or(cut)?;
        let begin = header.checked_add(word(8).ok_or(cut)?).ok_or(cut)?;
        let end = begin.checked_add(word(12).ok_or(cut)?).ok_or(cut)?;
        let strings = header.checked_add(word(16).ok_or(cut)?).ok_or(cut)?;
        if end > data.len() || strings > data.len() {
            return Err(cut);
        }
        let mut types = vec![0];
        let mut at = begin;
        while at < end {
            types.push(at);
            let info = word(at + 4).ok_or(cut)? as u32;
            let members = (info & 0xffff) as usize;
            let tail = match (info >> 24) & 0x1f {
                // int, var, decl tag; array; struct, union, data section, enum64; enum, prototype.
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * members,
                6 | 13 => 8 * members,
                0..=19 => 0,
                _ => return Err("a kind of type from a newer kernel than this program knows"),
            };
            at = at.checked_add(12 + tail).ok_or(cut)?;
        }
        Ok(Self { data, strings, types })
    }

    fn word(&self, at: usize) -> u32 {
        read_u32(&self.data, at).unwrap_or(0)
    }

    fn name(&self, type_at: usize) -> &[u8] {
        let start = self.strings.saturating_add(self.word(type_at) as usize);
        let rest = self.data.get(start..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn kind(&self, type_at: usize) -> u32 {
        (self.word(type_at + 4) >> 24) & 0x1f
    }

    /// Byte offset of `field` in the composite type at `type_at`, looking into anonymous members.
    fn member(&self, type_at: usize, field: &[u8], depth: u32) -> Option<u32> {
        let info = self.word(type_at + 4);
        let bit_fields = info >> 31 == 1;
        for i in 0..(info & 0xffff) as usize {
            let at = type_at + 12 + 12 * i;
            let raw = self.word(at + 8);
            let bits = if bit_fields { raw & 0x00ff_ffff } else { raw };
            let name = self.name(at);
            if name == field {
                return Some(bits / 8);
            }
            if name.is_empty() && depth < NESTING_MAX {
                let inner = self.strip(self.word(at + 4))?;
                if matches!(self.kind(inner), KIND_STRUCT | KIND_UNION)
                    && let Some(offset) = self.member(inner, field, depth + 1)
                {
                    return Some(bits / 8 + offset);
                }
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn strip(&self, id: u32) -> Option<usize> {
        let mut at = *self.types.get(id as usize)?;
        for _ in 0..NESTING_MAX {
            if !matches!(self.kind(at), 8..=11 | 18) {
                break;
            }
            at = *self.types.get(self.word(at + 8) as usize)?;
        }
        Some(at)
    }

    /// Byte offset of a field.
    ///
    /// # Errors
    /// [`BtfError::NoField`].
    pub fn offset(&self, structure: &str, field: &str) -> Result<u32, BtfError> {
        self.types
            .iter()
            .skip(1)
            .filter(|at| {
                matches!(self.kind(**at), KIND_STRUCT | KIND_UNION) && self.name(**at) == structure.as_bytes()
            })
            .find_map(|at| self.member(*at, field.as_bytes(), 0))
            .ok_or_else(|| BtfError::NoField {
                structure: structure.into(),
                field: field.into(),
            })
    }

    /// Whether the kernel has a tracepoint of this name that typed programs can attach to.
    #[must_use]
    pub fn has_tracepoint(&self, name: &str) -> bool {
        self.has(KIND_TYPEDEF, &format!("btf_trace_{name}"))
    }

    /// Whether the kernel has a function of this name; those that implement helpers for programs are among them.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.has(KIND_FUNCTION, name)
    }

    fn has(&self, kind: u32, name: &str) -> bool {
        self.find(kind, name).is_some()
    }

    fn find(&self, kind: u32, name: &str) -> Option<usize> {
        self.types
            .iter()
            .skip(1)
            .copied()
            .find(|at| self.kind(*at) == kind && self.name(*at) == name.as_bytes())
    }

    /// Number of parameters of a function; `None` when the kernel has none of this name.
    #[must_use]
    pub fn parameters(&self, function: &str) -> Option<u32> {
        let function = self.find(KIND_FUNCTION, function)?;
        let prototype = *self.types.get(self.word(function + 8) as usize)?;
        Some(self.word(prototype + 4) & 0xffff)
    }

    /// Value of a constant of an enumeration; `None` when the kernel has none of this name.
    #[must_use]
    pub fn constant(&self, enumeration: &str, name: &str) -> Option<u32> {
        let at = self.find(KIND_ENUM, enumeration)?;
        (0..(self.word(at + 4) & 0xffff) as usize)
            .map(|i| at + 12 + 8 * i)
            .find(|member| self.name(*member) == name.as_bytes())
            .map(|member| self.word(member + 4))
    }

    /// Where the descriptions of functions that take pointers lie in the data.
    pub(super) fn functions_of_pointers(&self) -> impl Iterator<Item = usize> + '_ {
        self.types
            .iter()
            .skip(1)
            .copied()
            .filter(|at| self.kind(*at) == KIND_FUNCTION && self.takes_pointers(*at))
    }

    fn takes_pointers(&self, function: usize) -> bool {
        let Some(prototype) = self.types.get(self.word(function + 8) as usize) else {
            return false;
        };
        (0..(self.word(prototype + 4) & 0xffff) as usize)
            .filter_map(|i| self.strip(self.word(prototype + 12 + 8 * i + 4)))
            .any(|parameter| self.kind(parameter) == KIND_POINTER)
    }
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?
        .first_chunk::<4>()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_running_kernel() {
        let btf = Btf::kernel().unwrap();
        // Fixed by the socket API: the family is the first thing after the addresses, hash and ports of sock_common.
        assert_eq!(btf.offset("sock_common", "skc_family").unwrap(), 16);
        assert!(btf.has_tracepoint("inet_sock_set_state"));
        assert!(!btf.has_tracepoint("no_such_tracepoint"));
        // Functions and tracepoints are kept apart.
        assert!(btf.has_function("tcp_sendmsg"));
        assert_eq!(btf.parameters("tcp_sendmsg"), Some(3));
        assert_eq!(btf.parameters("no_such_function"), None);
        assert_eq!(btf.constant("sock_type", "SOCK_DGRAM"), Some(2));
        assert_eq!(btf.constant("sock_type", "SOCK_NONSENSE"), None);
        assert!(!btf.has_function("btf_trace_inet_sock_set_state"));
        assert!(matches!(
            btf.offset("sock", "no_such_field"),
            Err(BtfError::NoField { .. })
        ));
    }

    #[test]
    fn damaged_input_is_an_error() {
        let whole = std::fs::read(KERNEL_BTF).unwrap();
        assert!(Btf::parse(Vec::new()).is_err());
        assert!(Btf::parse(b"\x7fELF and so on".to_vec()).is_err());
        assert!(Btf::parse(whole.get(..1000).unwrap().to_vec()).is_err());
        // Nonsense behind a valid header must not panic either.
        let mut noise = whole.get(..24).unwrap().to_vec();
        noise.extend((0..whole.len() - 24).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8));
        if let Ok(btf) = Btf::parse(noise) {
            let _ = btf.offset("sock", "sk_socket");
        }
    }
}
