//! A log without the rest of a site: no engines, no sensors, no page. `sealwire bench` measures it.

use std::{io, path::Path, time::Duration};

use access::{Account, InvalidTokenName, Scope};
use data_dir::{DataDir, DataDirError};
use index::Reader;
use ledger::{Ledger, WriteError, Writer};
use log_http::PublicLog;
use orders::{
    SiteLog, SiteLogError, {Done, Operator, OperatorError, Order},
};
use pangea_http::{Api, Config, PangeaConfigError, Saved, SavedError, no_room};
use services::{
    checkpointing::Checkpointing,
    indexing::{self, AtStart, Indexing, IndexingError},
    progress::{Progress, progress},
    timings,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use work::Service as _;

/// The same as a site's default.
const CHECKPOINT_PERIOD: Duration = Duration::from_millis(500);

/// A log that is being served, with its index and Pangea's API.
#[derive(Debug)]
pub struct LogAlone {
    /// URL of the API.
    pub url: String,
    /// A token with every scope.
    pub token: String,
    /// Reads the index.
    pub index: Reader,
    /// The log that is served.
    pub ledger: Ledger,
    /// Carries out orders on the log.
    pub operator: Operator,
    progress: Progress,
    writer: Writer,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _data_dir: DataDir,
}

impl LogAlone {
    /// Serves the log of a site's folder on a free port. Creates the log if there is none.
    ///
    /// # Errors
    /// The folder, the log or the index cannot be used, or no port can be bound.
    pub async fn start(folder: &Path) -> Result<Self, LogAloneError> {
        let data_dir = DataDir::open(folder, None)?;
        let SiteLog { ledger, writer, operator } = SiteLog::open(&data_dir, None)?;
        let token = new_token(&operator).await?;
        let indexer = indexing::open(&data_dir.index(), &ledger)?;
        let index = indexer.reader().map_err(IndexingError::Index)?;
        let for_api = indexer.reader().map_err(IndexingError::Index)?;
        let (reports, progress) = progress();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let saved = Saved::open(data_dir.path())?;
        let config = Config::load(&data_dir.pangea())?;
        let api = Api::new((ledger.clone(), &operator), (for_api, progress.clone()), config, saved);

        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let indexing = Indexing {
            ledger: ledger.clone(),
            indexer,
            reports,
            at_start: AtStart::default(),
            found_seconds: timings::found_seconds(),
        };
        let indexing = indexing.run(stop.clone());
        // If indexing fails, `progress` ends for those who wait.
        tasks.spawn(async { drop(indexing.await) });
        tasks.spawn(http_server::serve(
            http_server::Places::MANY,
            listener,
            api.router(),
            no_room,
            stop.clone(),
        ));
        let checkpointing = Checkpointing { ledger: ledger.clone(), period: CHECKPOINT_PERIOD };
        let checkpointing = checkpointing.run(stop.clone());
        // If checkpointing fails, closing the writer reports why.
        tasks.spawn(async { drop(checkpointing.await) });
        Ok(Self {
            url,
            token,
            index,
            ledger,
            operator,
            progress,
            writer,
            stop,
            tasks,
            _data_dir: data_dir,
        })
    }

    /// Another token with every scope.
    ///
    /// # Errors
    /// The token cannot be stored or sealed.
    pub async fn another_token(&self) -> Result<String, LogAloneError> {
        new_token(&self.operator).await
    }

    /// Waits until the index has every leaf that is sealed now. Returns their number, or `None` if
    /// indexing failed.
    pub async fn indexed(&self) -> Option<u64> {
        let caught_up = self.progress.caught_up(self.ledger.size()).await;
        caught_up.map(|indexed| indexed.next_leaf)
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// The writer failed.
    pub async fn stop(mut self) -> Result<(), WriteError> {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.writer.close().await
    }
}

/// Serves the public files of a log, as a site's log port does, until `shutdown`.
pub async fn serve_public(ledger: Ledger, listener: TcpListener, shutdown: CancellationToken) {
    let router = PublicLog { ledger, witnessed: None }.router();
    http_server::serve(http_server::Places::MANY, listener, router, no_room, shutdown).await;
}

async fn new_token(operator: &Operator) -> Result<String, LogAloneError> {
    // A token's secret cannot be read back, so each start creates a token.
    let name = format!("log-alone-{:016x}", rand::random::<u64>()).parse()?;
    let scope = vec![Scope::Write, Scope::Read];
    let order = Order::CreateToken { name, scope, nats: false, actor: None };
    match operator.carry_out(order, &Account::named("log-alone")).await? {
        Done::CreateToken { token, .. } => Ok(token),
        other => unreachable!("an order to make a token does {other:?}"),
    }
}

/// Why a log cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LogAloneError {
    /// The folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] SiteLogError),
    /// The token cannot be created.
    #[error(transparent)]
    Order(#[from] OperatorError),
    /// A bug: this module made up an invalid name.
    #[error(transparent)]
    Name(#[from] InvalidTokenName),
    /// The index cannot be opened.
    #[error(transparent)]
    Index(#[from] IndexingError),
    /// The API's configuration cannot be used.
    #[error(transparent)]
    Config(#[from] PangeaConfigError),
    /// The file of saved searches cannot be used.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// No port can be bound.
    #[error("cannot serve the API")]
    Io(#[from] io::Error),
}
