//! How far the programs look. What is beyond is counted, with the counter that is named here.

/// Most pieces (parts of a scattered buffer, or `CHUNK_BYTES_MAX` of one) read of one transfer. Node sends a chunked response of
/// three chunks in eleven parts, gRPC's core each frame of many streams in two or three, up to 260. The rest: `too_many_parts`.
pub const PIECES_MAX: u32 = 264;
/// The same where `bpf_loop` does not exist and the verifier walks each turn.
pub const PIECES_MAX_UNROLLED: u32 = 128;

/// Most parts of a scattered buffer that are stepped over backwards, where only its end is known (`fexit`, `kprobe`, messages noted while
/// they are sent): the kernel takes no more (`UIO_MAXIOV`).
pub const STEPS_BACK_MAX: u32 = 1024;
/// The same where `bpf_loop` does not exist. Of a call of more parts nothing is read: `too_many_parts`.
pub const STEPS_BACK_MAX_UNROLLED: u32 = 64;

/// Most messages of one call (`sendmmsg`, `recvmmsg`) whose lengths are added up at system calls. The kernel sends no more than 1,024
/// (`UIO_MAXIOV`), but receives as many as it is asked for; calls of more: `too_many_messages`.
pub const MESSAGES_MAX: u32 = 16_384;
/// The same where `bpf_loop` does not exist.
pub const MESSAGES_MAX_UNROLLED: u32 = 1024;

/// Threads whose calls in progress are remembered, unless the configuration says otherwise; where a call's arguments are needed at its
/// return (`syscall-enter-exit`, `kprobe`). Calls beyond: `threads_full`.
pub const THREADS_MAX: u32 = 16_384;

/// Pieces of ciphertext by which sessions over memory are found, kept at a time. The least recently used make room.
pub const TLS_WRITTEN_MAX: u32 = 8_192;

/// TLS sessions whose state is kept, unless the configuration says otherwise. Plaintext of others is counted.
pub const TLS_SESSIONS_MAX: u32 = 16_384;
