//! A Unix socket in the data directory through which a running site receives orders. Connections to
//! other ports cannot exhaust it.
//!
//! A connection carries one order. The client sends it as JSON and ends its side; the site answers
//! in JSON. The kernel tells which account asks, and the site accepts only its own account and
//! root. A connection that sends nothing gives way to a newer one.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs::{self, File, Permissions},
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::UnixStream as BlockingStream,
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use access::{Account, own_uid};
use model::error_chain;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use work::Service;

use crate::{
    operator::Operator,
    order::{AddressedOrder, Done},
};

/// Name of the socket in the data directory.
const NAME: &str = data_dir::folder::ORDERS;
/// Longest socket path in bytes that every system accepts. Linux accepts 107, others less. A longer
/// path is reached through the opened folder.
const PATH_BYTES_MAX: usize = 100;
/// Largest order in bytes: some 20,000 credentials of one sensor each.
const ORDER_BYTES_MAX: u64 = 16 << 20;
/// Time for a whole order to arrive, and for the client to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time in which the site reads and discards the rest of an order that it answered early.
const LINGER: Duration = Duration::from_secs(1);
/// Connections that have not sent their order yet. One more replaces the oldest.
const UNHEARD_MAX: usize = 64;
/// Pause before the next `accept` when the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time that a site may take for an order: an erasure rewrites whole segments.
const ORDER_TIMEOUT: Duration = Duration::from_secs(3_600);

/// The bound socket.
#[derive(Debug)]
pub struct OrderSocket {
    operator: Operator,
    listener: UnixListener,
    path: PathBuf,
}

/// The answer on the wire.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Done(Done),
    Refused(String),
    Failed(String),
}

/// Whether the folder has a socket, in use or left by a crash.
///
/// # Errors
/// Something that is not a socket has the name.
pub fn is_there(folder: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(folder.join(NAME)) {
        Ok(found) if found.file_type().is_socket() => Ok(true),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl OrderSocket {
    /// Binds the socket in a folder that the caller has locked. Replaces a socket that a crash
    /// left, but not one on which a process listens.
    ///
    /// # Errors
    /// A process listens on it, or something that is not a socket has the name.
    pub fn bind(folder: &Path, operator: Operator) -> io::Result<Self> {
        let path = folder.join(NAME);
        if is_there(folder)? {
            match connect(folder) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(&path)?;
                }
                Ok(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::AddrInUse,
                        "another process is listening on it",
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        let address = Address::of(folder)?;
        let listener = UnixListener::bind(&address.path)?;
        // Only the folder's owner can reach the socket, and the site checks each peer's account as
        // well.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { operator, listener, path })
    }
}

impl Service for OrderSocket {
    const NAME: &'static str = "the orders' socket";
    type Error = Infallible;

    /// Accepts orders until `shutdown`. Orders under way then run to their end, but nobody waits
    /// for their answers.
    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut connections = JoinSet::new();
        let mut unheard: VecDeque<CancellationToken> = VecDeque::new();
        while let Some(accepted) = shutdown.run_until_cancelled(self.listener.accept()).await {
            let stream = match accepted {
                Ok((stream, _address)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a connection for an order");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            unheard.retain(|connection| !connection.is_cancelled());
            if unheard.len() >= UNHEARD_MAX
                && let Some(oldest) = unheard.pop_front()
            {
                oldest.cancel();
            }
            let gives_way = CancellationToken::new();
            unheard.push_back(gives_way.clone());
            let operator = self.operator.clone();
            connections.spawn(async move {
                if let Err(error) = hear(stream, operator, gives_way).await {
                    debug!(%error, "a connection for an order ended early");
                }
            });
            while connections.try_join_next().is_some() {}
        }
        // If the socket cannot be removed, the next start finds that no process listens on it.
        let _gone = fs::remove_file(self.path);
        Ok(())
    }
}

/// Reads one order, carries it out and answers.
async fn hear(
    mut stream: UnixStream,
    operator: Operator,
    gives_way: CancellationToken,
) -> io::Result<()> {
    // When this function ends, in any way, the connection no longer counts as one without an order.
    let _counted = gives_way.clone().drop_guard();
    let uid = stream.peer_cred()?.uid();
    let answer = if uid == own_uid() || uid == 0 {
        let mut bytes = Vec::new();
        let mut order = (&mut stream).take(ORDER_BYTES_MAX + 1);
        let read = timeout(PATIENCE, order.read_to_end(&mut bytes));
        let Some(read) = gives_way.run_until_cancelled(read).await else {
            return Err(io::Error::other(
                "the connection was closed to make room for another order",
            ));
        };
        read??;
        // From here on the connection gives way to no other.
        gives_way.cancel();
        carry_out(&operator, uid, &bytes).await
    } else {
        gives_way.cancel();
        Answer::Refused("only root and the account that runs the site may give orders".to_owned())
    };
    let json = serde_json::to_vec(&answer).expect("what was done has only text keys");
    timeout(PATIENCE, stream.write_all(&json)).await??;
    stream.shutdown().await?;
    // Closing a connection with unread data would discard the answer.
    let _patient_enough = timeout(LINGER, copy(&mut stream, &mut sink())).await;
    Ok(())
}

async fn carry_out(operator: &Operator, uid: u32, bytes: &[u8]) -> Answer {
    if bytes.len() as u64 > ORDER_BYTES_MAX {
        return Answer::Refused(format!(
            "the order is too large: at most {ORDER_BYTES_MAX} bytes are read"
        ));
    }
    let order: AddressedOrder = match serde_json::from_slice(bytes) {
        Ok(order) => order,
        Err(error) => return Answer::Refused(format!("this is not an order: {error}")),
    };
    let account = match work::blocking((), move || Account::of(uid)).await {
        Ok(account) => account,
        Err(panic) => return Answer::Failed(panic.to_string()),
    };
    match operator.carry_out(order, &account).await {
        Ok(done) => Answer::Done(done),
        // The operator sees every error in full: it is their machine.
        Err(refusal) if refusal.is_refusal() => Answer::Refused(error_chain(&refusal)),
        Err(failure) => {
            error!(%failure, source = std::error::Error::source(&failure), "an order failed");
            Answer::Failed(error_chain(&failure))
        }
    }
}

/// Sends an order to the site that runs in this folder. Blocks until the site has carried it out.
///
/// # Errors
/// No process listens, the site refused the order or failed at it, or the connection ended before
/// the answer.
pub fn give_order(folder: &Path, order: &AddressedOrder) -> Result<Done, GiveOrderError> {
    let mut stream = connect(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            GiveOrderError::NobodyListens { folder: folder.to_owned() }
        }
        _ => GiveOrderError::Connect { folder: folder.to_owned(), source: error },
    })?;
    let json = serde_json::to_vec(order).expect("an order has only text keys");
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(ORDER_TIMEOUT)).map_err(GiveOrderError::Lost)?;
    // If the site refuses before it has read the order, the write fails, but the answer still says
    // why.
    let _may_be_refused = stream.write_all(&json).and_then(|()| stream.shutdown(Shutdown::Write));
    stream.read_to_end(&mut answer).map_err(GiveOrderError::Lost)?;
    if answer.is_empty() {
        return Err(GiveOrderError::Lost(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_slice(&answer).map_err(GiveOrderError::Answer)? {
        Answer::Done(done) => Ok(done),
        Answer::Refused(words) => Err(GiveOrderError::Refused(words)),
        Answer::Failed(words) => Err(GiveOrderError::Failed(words)),
    }
}

fn connect(folder: &Path) -> io::Result<BlockingStream> {
    BlockingStream::connect(&Address::of(folder)?.path)
}

/// A path for the socket that fits the kernel's limit, however long the path of the folder is.
struct Address {
    path: PathBuf,
    _folder: Option<File>,
}

impl Address {
    fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()).into();
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// Why an order was not carried out, or why the caller cannot know.
#[derive(Debug, thiserror::Error)]
pub enum GiveOrderError {
    /// There is no socket, or no process listens on it.
    #[error("the site in {} is starting or stopping: try again shortly", folder.display())]
    NobodyListens {
        /// Path of the data directory.
        folder: PathBuf,
    },
    /// The socket cannot be used.
    #[error("cannot give orders to the site in {}", folder.display())]
    Connect {
        /// Path of the data directory.
        folder: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The connection ended before the answer. The order may or may not have been carried out.
    #[error(
        "the site did not answer: it may have carried out the order, so look in the log for the event"
    )]
    Lost(#[source] io::Error),
    /// The answer is not one that this version understands.
    #[error("cannot understand the site's answer: use the version of sealwire that runs the site")]
    Answer(#[source] serde_json::Error),
    /// The site refused the order, and nothing has happened; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The site failed at the order, and may have carried out a part of it; the text says why.
    #[error("{0}")]
    Failed(String),
}

impl GiveOrderError {
    /// Whether nothing of the order was carried out.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::NobodyListens { .. } | Self::Connect { .. } | Self::Refused(_) => true,
            Self::Lost(_) | Self::Answer(_) | Self::Failed(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt as _, process::Command};

    use data_dir::DataDir;
    use model::{LogId, action};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        log_name::{LogName, config_id},
        order::Order,
        site_log::SiteLog,
    };

    struct Site {
        _parent: TempDir,
        folder: PathBuf,
        log: SiteLog,
        shutdown: CancellationToken,
        serving: JoinSet<()>,
    }

    impl Site {
        /// A log that accepts orders, in a folder whose path is too long for a socket address.
        fn start() -> Self {
            let parent = TempDir::new().unwrap();
            let folder = parent.path().join("x".repeat(150));
            let data_dir = DataDir::open(&folder, None).unwrap();
            let log = SiteLog::open(&data_dir, None).unwrap();
            let (shutdown, mut serving) = (CancellationToken::new(), JoinSet::new());
            let socket = OrderSocket::bind(&folder, log.operator.clone()).unwrap();
            let hearing = socket.run(shutdown.clone());
            serving.spawn(async { hearing.await.unwrap() });
            Self { _parent: parent, folder, log, shutdown, serving }
        }

        async fn give(&self, order: Order) -> Result<Done, GiveOrderError> {
            let folder = self.folder.clone();
            work::blocking((), move || give_order(&folder, &order.into())).await.unwrap()
        }

        /// The site's answer to these bytes.
        async fn send(&self, bytes: Vec<u8>) -> String {
            let folder = self.folder.clone();
            let send = move || {
                let mut stream = connect(&folder).unwrap();
                let _may_be_refused = stream.write_all(&bytes);
                stream.shutdown(Shutdown::Write).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            };
            work::blocking((), send).await.unwrap()
        }

        async fn stop(mut self) {
            self.shutdown.cancel();
            self.serving.join_next().await.unwrap().unwrap();
            assert!(!self.folder.join(NAME).exists());
            self.log.writer.close().await.unwrap();
        }
    }

    /// The clock does not advance while a blocking thread uses the socket, so no timeout expires.
    #[tokio::test(start_paused = true)]
    async fn connections_that_say_nothing_lock_nobody_out() {
        let site = Site::start();
        let folder = site.folder.clone();
        let hold = move || -> Vec<BlockingStream> {
            (0..3 * UNHEARD_MAX).map(|_| connect(&folder).unwrap()).collect()
        };
        let held = work::blocking((), hold).await.unwrap();
        assert!(matches!(site.give(Order::Holds).await, Ok(Done::Holds { .. })));
        // The oldest connections have given way to newer ones, not to a timeout.
        let closed = move || {
            let mut oldest = held.first().unwrap();
            oldest.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            oldest.read(&mut [0])
        };
        assert_eq!(work::blocking((), closed).await.unwrap().unwrap(), 0);
        site.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_order_is_sealed_with_the_account_that_gave_it_whatever_it_claims() {
        let site = Site::start();
        let hold = |actor: Option<&str>| Order::Hold {
            sensor: None,
            from: None,
            to: None,
            actor: actor.map(|actor| actor.parse().unwrap()),
            reason: "a test".parse().unwrap(),
        };
        let account = Account::own().signing_as(None);
        for (claimed, sealed) in
            [(None, account.clone()), (Some("the auditor"), format!("{account} as the auditor"))]
        {
            let Done::Hold { leaf } = site.give(hold(claimed)).await.unwrap() else { panic!() };
            let stored = site.log.ledger.envelopes(leaf, 1, usize::MAX).unwrap().remove(0);
            let event = model::Envelope::parse(&stored.bytes.unwrap()).unwrap().event;
            assert_eq!(event.action.as_deref(), Some(action::HOLD_PLACED));
            assert_eq!(event.actor, Some(sealed));
        }
        site.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_order_for_another_log_is_refused() {
        let site = Site::start();
        let own = site.log.ledger.log_id();
        let give = async |log: Option<LogName>| {
            let (folder, order) =
                (site.folder.clone(), AddressedOrder { log, order: Order::Holds });
            work::blocking((), move || give_order(&folder, &order)).await.unwrap()
        };
        for log in [None, Some(LogName::Id(own)), Some(LogName::Config(config_id(own)))] {
            assert!(matches!(give(log).await, Ok(Done::Holds { .. })));
        }
        let other = LogId::from_sha256([2; LogId::LEN]);
        for log in [LogName::Id(other), LogName::Config(config_id(other))] {
            let refusal = give(Some(log)).await.unwrap_err().to_string();
            assert!(refusal.contains(&format!("the log here is {own}")), "{refusal}");
        }
        site.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_no_order_is_refused_in_words() {
        let site = Site::start();
        for (sent, words) in [
            (Vec::new(), "this is not an order"),
            (br#"{"order":{"order":"dance"}}"#.to_vec(), "unknown variant `dance`"),
            (
                br#"{"order":{"order":"erase","leaves":"3-1","reason":"b"}}"#.to_vec(),
                "is not a list of leaves",
            ),
            (
                br#"{"order":{"order":"erase","leaves":"3","actor":" ","reason":"b"}}"#.to_vec(),
                "not blank",
            ),
            (
                br#"{"order":{"order":"erase","leaves":"99999999","reason":"b"}}"#.to_vec(),
                "not in the log",
            ),
            (br#"{"log":"plant","order":{"order":"holds"}}"#.to_vec(), "64 hex digits"),
            (vec![b'x'; 17 << 20], "at most 16777216 bytes"),
        ] {
            let answer = site.send(sent).await;
            assert!(answer.starts_with(r#"{"refused":""#) && answer.contains(words), "{answer}");
        }
        site.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_socket_that_a_crash_left_is_replaced_and_a_live_one_is_not() {
        let site = Site::start();
        let operator = site.log.operator.clone();
        let bind = |folder: &Path| OrderSocket::bind(folder, operator.clone());
        let live = bind(&site.folder).unwrap_err();
        assert_eq!(live.kind(), io::ErrorKind::AddrInUse);
        assert!(matches!(site.give(Order::Holds).await, Ok(Done::Holds { .. })));
        let mode = fs::metadata(site.folder.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        site.stop().await;

        let folder = TempDir::new().unwrap();
        let stale = bind(folder.path()).unwrap();
        drop(stale);
        assert!(folder.path().join(NAME).exists());
        let nobody = give_order(folder.path(), &Order::Holds.into()).unwrap_err();
        assert!(matches!(nobody, GiveOrderError::NobodyListens { .. }), "{nobody}");
        drop(bind(folder.path()).unwrap());
        fs::remove_file(folder.path().join(NAME)).unwrap();
        fs::write(folder.path().join(NAME), "mine").unwrap();
        bind(folder.path()).unwrap_err();
        assert_eq!(fs::read_to_string(folder.path().join(NAME)).unwrap(), "mine");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_account_is_not_heard_even_where_the_files_let_it_in() {
        if own_uid() != 0 {
            eprintln!("not run: only root can ask as another account");
            return;
        }
        let site = Site::start();
        // Opens the modes, as a person might by hand.
        for open in [site.folder.parent().unwrap(), &site.folder, &site.folder.join(NAME)] {
            fs::set_permissions(open, Permissions::from_mode(0o777)).unwrap();
        }
        let script = "import os, socket, sys\n\
                      os.chdir(sys.argv[1])\n\
                      s = socket.socket(socket.AF_UNIX)\n\
                      s.connect('orders.sock')\n\
                      s.sendall(b'{\"order\":\"rotate-key\",\"actor\":\"root\"}')\n\
                      s.shutdown(socket.SHUT_WR)\n\
                      print(s.recv(4096).decode())";
        let folder = site.folder.clone();
        let ask = move || {
            Command::new("python3").args(["-c", script]).arg(folder).uid(65_534).output().unwrap()
        };
        let output = work::blocking((), ask).await.unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.contains("only root and the account that runs the site"), "{output:?}");
        assert_eq!(site.log.ledger.keys().len(), 1);
        site.stop().await;
    }
}
