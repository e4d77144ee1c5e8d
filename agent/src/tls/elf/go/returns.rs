//! The return instructions of a Go function.
//!
//! Go's compilers put nothing but instructions into a function (jump tables are read-only data), so decoding from its first
//! instruction meets each of them.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};

use super::super::ElfError;
use super::super::layout::Architecture;
use super::super::reader::Reader;

/// Longest function that is decoded, bytes; those of `crypto/tls` have some 2,000.
pub const FUNCTION_BYTES_MAX: usize = 64 << 10;
/// Most returns of a function; those of `crypto/tls` have some 20.
pub const RETURNS_MAX: usize = 128;

/// `ret` by way of x30, as Go's compiler writes it.
const ARM64_RET: u32 = 0xd65f_03c0;

/// Their places in the file, in order. `None`: it has none, too many, is too long, or is no sequence of instructions.
pub(super) fn find(
    reader: &mut Reader<'_>,
    architecture: Architecture,
    offset: u64,
    len: u64,
) -> Result<Option<Vec<u64>>, ElfError> {
    if len > FUNCTION_BYTES_MAX as u64 {
        return Ok(None);
    }
    let mut code = vec![0; len as usize];
    reader.read(offset, &mut code)?;
    let returns = match architecture {
        Architecture::Amd64 => amd64(&code),
        Architecture::Arm64 => Some(arm64(&code)),
    };
    let returns = returns.filter(|returns| (1..=RETURNS_MAX).contains(&returns.len()));
    Ok(returns.map(|returns| returns.into_iter().map(|at| offset.saturating_add(at)).collect()))
}

fn amd64(code: &[u8]) -> Option<Vec<u64>> {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut returns = Vec::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        match instruction.code() {
            Code::INVALID => return None,
            Code::Retnq | Code::Retnq_imm16 => returns.push(instruction.ip()),
            _ => {}
        }
    }
    Some(returns)
}

fn arm64(code: &[u8]) -> Vec<u64> {
    let (words, _) = code.as_chunks::<4>();
    let numbered = words.iter().zip((0..).step_by(4));
    let returns = numbered.filter(|(word, _)| u32::from_le_bytes(**word) == ARM64_RET);
    returns.map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(architecture: Architecture, code: &[u8], expected: Option<&[u64]>) {
        let file = [vec![0x90; 100], code.to_vec()].concat();
        let mut reader = Reader::new(&file, u64::MAX);
        let found = find(&mut reader, architecture, 100, code.len() as u64).unwrap();
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn returns_are_told_from_bytes_of_other_instructions() {
        // mov eax, 0xc3c3c3c3; ret; jmp +1; ret; int3; ret 8
        let code = [
            0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xeb, 0x01, 0xc3, 0xcc, 0xc2, 0x08, 0x00,
        ];
        check(Architecture::Amd64, &code, Some(&[105, 108, 110]));
        check(Architecture::Amd64, &code[..12], None);
        check(Architecture::Amd64, &[0x90; 10], None);
        // Not an instruction in 64-bit mode.
        check(Architecture::Amd64, &[0xc3, 0x06], None);
        // nop; ret; ret x1; ret
        let code = [0xd503_201f_u32, ARM64_RET, 0xd65f_0020, ARM64_RET].map(u32::to_le_bytes);
        check(Architecture::Arm64, code.as_flattened(), Some(&[104, 112]));
        check(Architecture::Arm64, &ARM64_RET.to_be_bytes(), None);
    }

    #[test]
    fn long_functions_and_many_returns_are_left_out() {
        let returns: Vec<u64> = (0..RETURNS_MAX as u64).map(|at| 100 + at).collect();
        check(Architecture::Amd64, &[0xc3; RETURNS_MAX], Some(&returns));
        check(Architecture::Amd64, &[0xc3; RETURNS_MAX + 1], None);
        let mut code = vec![0x90; FUNCTION_BYTES_MAX];
        *code.last_mut().unwrap() = 0xc3;
        check(
            Architecture::Amd64,
            &code,
            Some(&[99 + FUNCTION_BYTES_MAX as u64]),
        );
        code.insert(0, 0x90);
        check(Architecture::Amd64, &code, None);
    }
}
