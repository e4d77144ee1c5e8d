//! The kernel inside a bzImage: distributions ship it compressed behind code that a PC's firmware starts; the ELF file inside is what
//! QEMU starts directly (PVH), without firmware and without decompressing under emulation.
//!
//! Offsets are those of the Linux x86 boot protocol (Documentation/arch/x86/boot.rst), version 2.08 and later.

use anyhow::{Context, Result, bail};

/// The protocol's signature and where it lies.
const SIGNATURE: (usize, &[u8]) = (0x202, b"HdrS");

/// Where the protocol's version lies, and the first one that tells where the payload is.
const VERSION: usize = 0x206;
const VERSION_MIN: u16 = 0x0208;

/// Number of sectors of the code before the protected-mode code, less the boot sector.
const SETUP_SECTORS: usize = 0x1f1;
const SECTOR_BYTES: usize = 512;

/// Where the payload lies in the protected-mode code, and how long it is.
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// What an ELF file starts with.
const ELF: &[u8] = b"\x7fELF";

/// How the payload is compressed, by what its first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// The old frame format of the kernel.
    Lz4,
    Zstd,
}

const MAGICS: [(&[u8], Compression); 2] = [
    (&[0x02, 0x21, 0x4c, 0x18], Compression::Lz4),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
];

impl Compression {
    /// The program that decompresses its standard input to its standard output.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What a bzImage holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    pub compression: Compression,
    /// Compressed.
    pub bytes: &'a [u8],
    /// Decompressed.
    pub length: u32,
}

impl<'a> Payload<'a> {
    /// Finds it.
    pub fn find(image: &'a [u8]) -> Result<Self> {
        let (at, signature) = SIGNATURE;
        if image.get(at..at + signature.len()) != Some(signature) {
            bail!("this is no bzImage: it lacks the signature of the boot protocol");
        }
        let version = number(image, VERSION, 2)?;
        if version < u32::from(VERSION_MIN) {
            bail!("boot protocol {version:#06x} does not tell where the payload is");
        }
        let sectors = image.get(SETUP_SECTORS).copied().map_or(0, usize::from);
        let code = (sectors + 1) * SECTOR_BYTES;
        let offset = code + number(image, PAYLOAD_OFFSET, 4)? as usize;
        let length = number(image, PAYLOAD_LENGTH, 4)? as usize;
        let payload = image
            .get(offset..offset.saturating_add(length))
            .context("the bzImage is shorter than it says")?;
        // The build appends the size of what it has compressed.
        let (bytes, size) = payload
            .split_last_chunk::<4>()
            .context("the payload of the bzImage is empty")?;
        let compression = MAGICS
            .iter()
            .find_map(|(magic, compression)| bytes.starts_with(magic).then_some(*compression))
            .with_context(|| {
                format!(
                    "the payload is compressed in a way that is neither lz4 nor zstd: it starts with {:02x?}",
                    bytes.get(..4).unwrap_or_default()
                )
            })?;
        Ok(Self {
            compression,
            bytes,
            length: u32::from_le_bytes(*size),
        })
    }

    /// Whether this is what was compressed.
    pub fn check(&self, kernel: &[u8]) -> Result<()> {
        if kernel.len() != self.length as usize || !kernel.starts_with(ELF) {
            bail!(
                "decompressing gave {} bytes, and an ELF file of {} was expected",
                kernel.len(),
                self.length
            );
        }
        Ok(())
    }
}

/// A number of so many bytes, the lowest first.
fn number(image: &[u8], at: usize, bytes: usize) -> Result<u32> {
    let field = image
        .get(at..at + bytes)
        .with_context(|| format!("the image ends before its field at {at:#x}"))?;
    Ok(field
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with one setup sector and this payload 16 bytes into the code after it.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR_BYTES + 16];
        image[SETUP_SECTORS] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x020f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET] = 16;
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length);
        image.extend_from_slice(payload);
        image
    }

    fn payload(magic: &[u8], length: u32) -> Vec<u8> {
        [magic, b"compressed", &length.to_le_bytes()].concat()
    }

    #[test]
    fn finds_the_payload_and_what_it_was_compressed_with() {
        for (magic, compression) in MAGICS {
            let image = image(&payload(magic, 70_000));
            let found = Payload::find(&image).unwrap();
            assert_eq!((found.compression, found.length), (compression, 70_000));
            assert_eq!(found.bytes, [magic, b"compressed"].concat());
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_image() {
        let good = image(&payload(MAGICS[1].0, 1));
        let mut unsigned = good.clone();
        unsigned[0x202] = b'h';
        let mut old = good.clone();
        old[VERSION] = 7;
        for (image, words) in [
            (&unsigned[..], "no bzImage"),
            (&good[..100], "no bzImage"),
            (&old[..], "0x0207"),
            (&good[..good.len() - 1], "shorter than it says"),
            (&image(b""), "is empty"),
            (&image(&payload(b"\x1f\x8b\x08\x00", 1)), "[1f, 8b, 08, 00]"),
        ] {
            let error = Payload::find(image).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_was_decompressed_is_checked() {
        let image = image(&payload(MAGICS[0].0, 6));
        let payload = Payload::find(&image).unwrap();
        assert!(payload.check(b"\x7fELF..").is_ok());
        assert!(payload.check(b"\x7fELF.").is_err());
        assert!(payload.check(b"no ELF").is_err());
    }
}
