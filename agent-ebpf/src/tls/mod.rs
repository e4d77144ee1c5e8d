//! TLS: connections that carry it, calls of TLS libraries, and the sessions that join the two.
//!
//! A session is a connection over a connection: what processes hand to a TLS library and get from it is a stream of its own, with places
//! counted from 0, which is captured as that of any connection ([`stream`]). Which socket lies below shows when the library uses it inside
//! of a call ([`call`], [`session::nested`]), or by the ciphertext ([`cipher`]). The connection below carries ciphertext: of that only the hellos are sent to user space, which
//! learns from them who speaks to whom and how ([`below`]).

pub mod below;
pub mod call;
pub mod cipher;
mod functions;
pub mod session;
mod stream;
