//! A collector that follows a plan, connection by connection, and is well behaved after its end.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use wire::v1::agent_message::Body as Up;
use wire::v1::collector_message::Body as Down;
use wire::v1::collector_server::{Collector, CollectorServer};
use wire::v1::{Ack, AgentMessage, Batch, CollectorMessage, Hello, Policy, PolicyApplied, Welcome};

use super::super::dial::{Dial, Dialed};

/// Capacity of the pipes that stand for connections, bytes.
const PIPE_BYTES: usize = 64 << 10;

/// What happens when the agent connects.
#[derive(Clone, Debug)]
pub(super) enum Connection {
    Refused,
    NeverMade,
    /// Made, and nothing ever comes back.
    Silent,
    /// A collector that can no longer be heard once it has welcomed the agent.
    FreezesAfterWelcome,
    Up(Serve),
}

/// What the collector does on a connection.
#[derive(Clone, Debug)]
pub(super) struct Serve {
    /// Answers with this instead of a stream.
    pub(super) status: Option<Status>,
    /// Version it welcomes with; `None`: not at all.
    pub(super) welcome: Option<u32>,
    pub(super) policies: Vec<Policy>,
    /// After so many batches the next one breaks the stream.
    pub(super) apply: Option<usize>,
    /// Acknowledges so many batches and no more.
    pub(super) ack: Option<usize>,
    /// Sequences it rejects.
    pub(super) reject: Vec<u64>,
    /// Acknowledgements of batches that do not exist.
    pub(super) strange_acks: u64,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            status: None,
            welcome: Some(wire::WIRE_VERSION),
            policies: Vec::new(),
            apply: None,
            ack: None,
            reject: Vec::new(),
            strange_acks: 0,
        }
    }
}

/// What the collector has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) hellos: Vec<Hello>,
    /// Every batch that arrived.
    pub(super) received: Vec<(String, u64)>,
    /// How many had arrived when each connection began.
    begun_at: Vec<usize>,
    /// Each once, by node, boot and sequence, as a collector must.
    pub(super) applied: BTreeMap<(String, String, u64), Batch>,
    pub(super) repeated: u64,
    pub(super) acked: usize,
    pub(super) policy_answers: Vec<PolicyApplied>,
}

impl Seen {
    /// Ids of the calls applied, in the order of batches.
    pub(super) fn calls(&self) -> Vec<u64> {
        let payloads = self
            .applied
            .values()
            .map(|batch| wire::decode_payload(&batch.payload_zstd).unwrap());
        payloads
            .flat_map(|payload| payload.calls)
            .map(|call| call.id)
            .collect()
    }

    pub(super) fn in_order_on_each_connection(&self) -> bool {
        let mut ends = self.begun_at.clone();
        ends.push(self.received.len());
        ends.windows(2)
            .all(|range| self.received[range[0]..range[1]].is_sorted_by(|a, b| a.1 < b.1))
    }
}

#[derive(Clone)]
pub(super) struct Double {
    plan: Arc<Mutex<VecDeque<Connection>>>,
    seen: watch::Sender<Seen>,
    dials: watch::Sender<Vec<Instant>>,
}

impl Double {
    pub(super) fn new(plan: impl IntoIterator<Item = Connection>) -> Self {
        let plan = Arc::new(Mutex::new(plan.into_iter().collect()));
        Self {
            plan,
            seen: watch::channel(Seen::default()).0,
            dials: watch::channel(Vec::new()).0,
        }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(super) fn dials(&self) -> Vec<Instant> {
        self.dials.borrow().clone()
    }

    /// Until what was seen satisfies `enough`.
    pub(super) async fn until(&self, enough: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let waited =
            tokio::time::timeout(Duration::from_secs(3600), seen.wait_for(|seen| enough(seen))).await;
        assert!(waited.is_ok(), "never: {:?}", self.seen());
    }

    pub(super) async fn until_dialed(&self, times: usize) {
        self.dials
            .subscribe()
            .wait_for(|dials| dials.len() >= times)
            .await
            .unwrap();
    }

    /// The way to this collector.
    pub(super) fn dial(&self) -> Dial {
        let double = self.clone();
        Arc::new(move || {
            let double = double.clone();
            Box::pin(async move {
                double.dials.send_modify(|dials| dials.push(Instant::now()));
                let next = double.plan.lock().unwrap().pop_front();
                match next.unwrap_or(Connection::Up(Serve::default())) {
                    Connection::Refused => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                    Connection::NeverMade => std::future::pending().await,
                    Connection::Silent => {
                        let (near, far) = duplex(PIPE_BYTES);
                        tokio::spawn(async move {
                            let _open = far;
                            std::future::pending::<()>().await;
                        });
                        Ok(dialed(near))
                    }
                    Connection::FreezesAfterWelcome => Ok(dialed(double.freezing())),
                    Connection::Up(serve) => Ok(dialed(double.serve(serve))),
                }
            })
        })
    }

    /// The agent's end of a new connection.
    fn serve(&self, serve: Serve) -> DuplexStream {
        let (near, far) = duplex(PIPE_BYTES);
        let service = CollectorServer::new(Service {
            double: self.clone(),
            serve,
        });
        let (one, incoming) = mpsc::unbounded_channel::<io::Result<DuplexStream>>();
        one.send(Ok(far)).unwrap();
        drop(one);
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(UnboundedReceiverStream::new(incoming)),
        );
        near
    }

    fn freezing(&self) -> DuplexStream {
        let (near, middle) = duplex(PIPE_BYTES);
        let (from_agent, to_agent) = tokio::io::split(middle);
        let (from_collector, to_collector) = tokio::io::split(self.serve(Serve::default()));
        tokio::spawn(copy_until(from_agent, to_collector, self.clone()));
        tokio::spawn(copy_until(from_collector, to_agent, self.clone()));
        near
    }
}

fn dialed(near: DuplexStream) -> Dialed {
    Dialed {
        io: Box::new(near),
        local: None,
    }
}

/// Copies until the collector has seen a hello and the bytes that follow within a second are through; then holds the
/// connection open without a byte.
async fn copy_until(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, double: Double) {
    let copy = async {
        let mut bytes = vec![0; 4096];
        loop {
            let read = from.read(&mut bytes).await.unwrap();
            to.write_all(&bytes[..read]).await.unwrap();
        }
    };
    let freeze = async {
        double.until(|seen| !seen.hellos.is_empty()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        () = copy => {}
        () = freeze => {}
    }
    std::future::pending::<()>().await;
    drop((from, to));
}

struct Service {
    double: Double,
    serve: Serve,
}

#[tonic::async_trait]
impl Collector for Service {
    type ExportStream = Pin<Box<dyn Stream<Item = Result<CollectorMessage, Status>> + Send>>;

    async fn export(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        if let Some(status) = &self.serve.status {
            return Err(status.clone());
        }
        let (down, messages) = mpsc::channel(1000);
        self.double
            .seen
            .send_modify(|seen| seen.begun_at.push(seen.received.len()));
        tokio::spawn(converse(
            self.double.clone(),
            self.serve.clone(),
            request.into_inner(),
            down,
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

type ToAgent = mpsc::Sender<Result<CollectorMessage, Status>>;

async fn say(down: &ToAgent, body: Down) {
    let _ = down.send(Ok(CollectorMessage { body: Some(body) })).await;
}

async fn converse(double: Double, serve: Serve, mut up: Streaming<AgentMessage>, down: ToAgent) {
    let (mut arrived, mut acked) = (0, 0);
    while let Some(Ok(message)) = up.next().await {
        match message.body.unwrap() {
            Up::Hello(hello) => {
                if let Some(wire_version) = serve.welcome {
                    say(
                        &down,
                        Down::Welcome(Welcome {
                            wire_version,
                            collector_version: "double".into(),
                        }),
                    )
                    .await;
                }
                for policy in &serve.policies {
                    say(&down, Down::Policy(policy.clone())).await;
                }
                for sequence in 0..serve.strange_acks {
                    let ack = Ack {
                        boot: "no such boot".into(),
                        sequence,
                        rejected: String::new(),
                    };
                    say(&down, Down::Ack(ack)).await;
                }
                double.seen.send_modify(|seen| seen.hellos.push(hello));
            }
            Up::PolicyApplied(answer) => double.seen.send_modify(|seen| seen.policy_answers.push(answer)),
            Up::Batch(batch) => {
                if serve.apply.is_some_and(|limit| arrived >= limit) {
                    return;
                }
                arrived += 1;
                let rejected = serve.reject.contains(&batch.sequence);
                let acks = serve.ack.is_none_or(|limit| acked < limit);
                let (boot, sequence) = (batch.boot.clone(), batch.sequence);
                double.seen.send_modify(|seen| {
                    seen.received.push((boot.clone(), sequence));
                    if !rejected {
                        let key = (batch.node.clone(), boot.clone(), sequence);
                        seen.repeated += u64::from(seen.applied.insert(key, batch).is_some());
                    }
                });
                if acks {
                    acked += 1;
                    let rejected = if rejected {
                        "not understood".to_owned()
                    } else {
                        String::new()
                    };
                    say(
                        &down,
                        Down::Ack(Ack {
                            boot,
                            sequence,
                            rejected,
                        }),
                    )
                    .await;
                    double.seen.send_modify(|seen| seen.acked += 1);
                }
            }
        }
    }
}
