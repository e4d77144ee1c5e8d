//! Records of the kernel's ring buffer.

use agent_common::{EXEC_ARGS_BYTES, EXEC_FILE_BYTES};
use eastwatch_agent::source::Event;
use eastwatch_agent::source::ebpf::parse;

/// A record that is too short or of an unknown kind is none; what is given lies within it.
pub fn run(data: &[u8]) {
    match parse(data) {
        Some(Event::Chunk(chunk)) => {
            assert!(chunk.data.len() <= data.len() && chunk.length as usize >= chunk.data.len());
        }
        Some(Event::Exec(facts)) => {
            assert!(facts.filename.len() <= EXEC_FILE_BYTES && facts.args.len() <= EXEC_ARGS_BYTES);
        }
        _ => {}
    }
}
