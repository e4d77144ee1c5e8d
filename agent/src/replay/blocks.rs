//! Header blocks as JSON: the fields of most messages are the very ones of messages before.

use std::sync::Arc;

use detect::Field;
use foldhash::{HashMap, HashMapExt};

use super::json;

/// Blocks remembered. When there are more, all are forgotten.
const BLOCKS_MAX: usize = 256;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Blocks {
    /// By the addresses of the fields.
    known: HashMap<Vec<usize>, Block>,
    key: Vec<usize>,
}

#[derive(Debug)]
struct Block {
    json: Vec<u8>,
    /// Held, so that their addresses are nobody else's.
    _fields: Vec<Field>,
}

impl Blocks {
    /// Writes an array of the fields.
    pub fn write(&mut self, out: &mut Vec<u8>, fields: &[Field]) {
        self.key.clear();
        self.key
            .extend(fields.iter().map(|field| Arc::as_ptr(field).addr()));
        if let Some(block) = self.known.get(&self.key) {
            return out.extend_from_slice(&block.json);
        }
        if self.known.len() >= BLOCKS_MAX {
            self.known = HashMap::new();
        }
        let mut json = vec![b'['];
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            json.extend_from_slice(b"{\"name\":");
            json::string(&mut json, field.0.as_bytes());
            json.extend_from_slice(b",\"value\":");
            json::string(&mut json, field.1.as_bytes());
            json.push(b'}');
        }
        json.push(b']');
        out.extend_from_slice(&json);
        let block = Block {
            json,
            _fields: fields.to_vec(),
        };
        self.known.insert(self.key.clone(), block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field::new((name.to_owned(), value.to_owned()))
    }

    fn written(blocks: &mut Blocks, fields: &[Field]) -> String {
        let mut out = Vec::new();
        blocks.write(&mut out, fields);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn same_fields_same_block() {
        let mut blocks = Blocks::default();
        let (a, b) = (field("a", "\"1\""), field("b", "2"));
        let both = r#"[{"name":"a","value":"\"1\""},{"name":"b","value":"2"}]"#;
        for _ in 0..2 {
            assert_eq!(written(&mut blocks, &[a.clone(), b.clone()]), both);
            assert_eq!(
                written(&mut blocks, std::slice::from_ref(&b)),
                r#"[{"name":"b","value":"2"}]"#
            );
            assert_eq!(written(&mut blocks, &[]), "[]");
        }
        assert_eq!(blocks.known.len(), 3);
    }

    #[test]
    fn bounded() {
        let mut blocks = Blocks::default();
        for number in 0..=BLOCKS_MAX {
            let value = number.to_string();
            let expect = format!(r#"[{{"name":"n","value":"{value}"}}]"#);
            assert_eq!(written(&mut blocks, &[field("n", &value)]), expect);
        }
        assert_eq!(blocks.known.len(), 1);
    }
}
