//! Recording what two real peers say to each other, and reading it.

use protocol::{Boundary, Connection, Direction, Exchange, Limits, Start};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf, duplex, split};
use tokio::task::JoinHandle;

/// What was said, in order.
pub type Recording = Vec<(Direction, Vec<u8>)>;

/// Ends for a client and a server; the recording is there when both have ended.
pub fn wire() -> (DuplexStream, DuplexStream, JoinHandle<Recording>) {
    let (client, client_end) = duplex(1 << 16);
    let (server, server_end) = duplex(1 << 16);
    (client, server, tokio::spawn(record(client_end, server_end)))
}

async fn record(client: DuplexStream, server: DuplexStream) -> Recording {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let mut recording = Recording::new();
    let (mut asked, mut answered) = (vec![0; 1 << 14], vec![0; 1 << 14]);
    let (mut client_speaks, mut server_speaks) = (true, true);
    while client_speaks || server_speaks {
        tokio::select! {
            len = from_client.read(&mut asked), if client_speaks => {
                let said = &asked[..len.unwrap_or_default()];
                client_speaks = pass(Direction::Request, said, &mut to_server, &mut recording).await;
            }
            len = from_server.read(&mut answered), if server_speaks => {
                let said = &answered[..len.unwrap_or_default()];
                server_speaks = pass(Direction::Response, said, &mut to_client, &mut recording).await;
            }
        }
    }
    recording
}

/// False: the direction has ended.
async fn pass(
    direction: Direction,
    said: &[u8],
    to: &mut WriteHalf<DuplexStream>,
    recording: &mut Recording,
) -> bool {
    if said.is_empty() {
        // The other side may be gone already.
        let _ = to.shutdown().await;
        return false;
    }
    recording.push((direction, said.to_vec()));
    to.write_all(said).await.is_ok()
}

/// How a recording is delivered.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// As it was said.
    AsSaid,
    /// All that the client said, then all that the server said.
    ClientFirst,
    /// The other way round.
    ServerFirst,
}

/// Reads a recording, in pieces of at most `piece` bytes.
pub fn read(recording: &Recording, order: Order, piece: usize) -> Vec<Exchange> {
    let limits = Limits {
        held_bytes: 64 << 20,
        ..Limits::default()
    };
    let mut connection = Connection::new(limits, Start::Fresh);
    let mut said: Vec<_> = (1_u64..).zip(recording).collect();
    match order {
        Order::AsSaid => {}
        Order::ClientFirst => said.sort_by_key(|(_, (direction, _))| *direction == Direction::Response),
        Order::ServerFirst => said.sort_by_key(|(_, (direction, _))| *direction == Direction::Request),
    }
    let mut offsets = [0_u64; 2];
    let mut exchanges = Vec::new();
    for (time, (direction, data)) in said {
        let offset = &mut offsets[usize::from(*direction == Direction::Response)];
        let mut boundary = Boundary::TurnStart;
        for piece in data.chunks(piece) {
            connection.segment(*direction, *offset, time, piece, boundary);
            *offset += piece.len() as u64;
            boundary = Boundary::Continued;
            exchanges.extend(std::iter::from_fn(|| connection.poll()));
        }
    }
    let [asked, answered] = offsets;
    connection.finish(Direction::Request, Some(asked), 1 << 40);
    connection.finish(Direction::Response, Some(answered), 1 << 40);
    connection.close(1 << 41);
    exchanges.extend(std::iter::from_fn(|| connection.poll()));
    exchanges.sort_by_key(|exchange| exchange.index);
    exchanges
}

/// Reads a recording in many ways, which must not matter.
pub fn read_every_way(recording: &Recording) -> Vec<Exchange> {
    let exchanges = read(recording, Order::AsSaid, usize::MAX);
    for order in [Order::AsSaid, Order::ClientFirst, Order::ServerFirst] {
        for piece in [1, 2, 3, 7, 100, 5000, usize::MAX] {
            let other = read(recording, order, piece);
            assert_eq!(other, exchanges, "{order:?}, pieces of {piece}");
        }
    }
    exchanges
}
