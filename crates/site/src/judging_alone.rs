//! A log, its pipeline and a host with the components that judge and check, without the rest of a
//! site: no sensors, no page. `sealwire bench pipeline` measures it.

use std::{path::Path, slice, str::FromStr as _, time::Duration};

use access::{Scope, TokenDescription, TokenName};
use async_nats::Request;
use data_dir::DataDir;
use engine::HostKind;
use lattice::Standing;
use ledger::{Batch, Ledger};
use model::{
    Event,
    processing::{ProcessorName, Question, VERSION},
};
use orders::SiteLog;
use services::{
    applications::{Desk, checking::Checking},
    checkpointing::Checkpointing,
    indexing::{self, AtStart, Indexing},
    pipeline::{Digests, Judging, Meters},
    progress::progress,
    testing::OnProbation,
    timings,
};
use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    error::{ComponentMissing, UpError},
    host_alone::HostAlone,
    processors::{ImageName, Processors},
    start_files::ledger_stopped,
    workloads,
};

/// Time that a component has to answer a question, and the pause before it is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_millis(2);
/// Time that a component has until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Name of the component that each processor runs.
const PROCESSOR: &str = "test-processor";

/// A log whose readings are judged.
pub struct JudgingAlone {
    /// The log.
    pub ledger: Ledger,
    /// The first leaf whose verdict is not sealed.
    pub judged: watch::Receiver<u64>,
    /// The same of each processor.
    pub processed: Vec<watch::Receiver<u64>>,
    /// Where events of applications are handed in.
    pub desk: Desk,
    /// An application.
    pub application: TokenDescription,
    processor: Option<ImageName>,
    host: HostAlone,
}

impl std::fmt::Debug for JudgingAlone {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("JudgingAlone").finish_non_exhaustive()
    }
}

impl JudgingAlone {
    /// Seals events in the log of a site's folder while nobody judges. Creates the log if there is
    /// none.
    ///
    /// # Errors
    /// The folder or the log cannot be used.
    pub async fn seal_before(
        folder: &Path,
        batches: impl Iterator<Item = Vec<Event>>,
    ) -> Result<(), UpError> {
        let data_dir = DataDir::open(folder, None).map_err(UpError::folder)?;
        let SiteLog { ledger, writer, .. } =
            SiteLog::open(&data_dir, None).map_err(UpError::folder)?;
        for events in batches {
            ledger.append(Batch::of(events)).await.map_err(UpError::folder)?;
        }
        writer.close().await.map_err(ledger_stopped)
    }

    /// Judges the log of a site's folder, and returns once a host runs the components. Creates the
    /// log if there is none. `components` are those of a site. With `processor`, a user's
    /// processor runs beside them under each of the names, on a host of their own.
    ///
    /// # Errors
    /// The folder or the log cannot be used, or an engine does not start.
    pub async fn start(
        folder: &Path,
        components: &[(String, Vec<u8>)],
        processor: Option<(&[u8], &[ProcessorName])>,
        checkpoint_period: Duration,
    ) -> Result<Self, UpError> {
        let mut images = workloads::images(components);
        let (mut processors, mut processor_image) = (Processors::default(), None);
        if let Some((component, names)) = processor {
            let own = [(String::from(PROCESSOR), component.to_vec())];
            let image = workloads::images(&own).remove(0);
            let name = ImageName::own(&image);
            processors = Processors::of(names, &name);
            processor_image = Some(name);
            images.push(image);
        }
        let missing = |name| UpError::machine(ComponentMissing(name));
        let logger_digest = workloads::logger_digest(&images).map_err(missing)?;
        let digest = workloads::reader_digest(&images).map_err(missing)?;
        let judging = workloads::judging(&images).map_err(missing)?;
        let of_users: Vec<_> = processors.iter().map(workloads::processing).collect();
        let of_images = images.clone();
        let wanted = move |data_dir: &DataDir| {
            let pangea = pangea_http::Config::load(&data_dir.pangea()).map_err(UpError::folder)?;
            let checking = workloads::checking(&of_images, &pangea.fields_json());
            let own = [judging, checking.map_err(missing)?].map(workloads::everywhere);
            Ok(own.into_iter().chain(of_users).collect())
        };
        let kinds = match &processor_image {
            Some(_) => &[HostKind::Site, HostKind::Guests][..],
            None => &[HostKind::Site],
        };
        let mut host = Box::pin(HostAlone::start(folder, kinds, images, wanted)).await?;
        let (ledger, data, guests) = (host.ledger.clone(), host.data.clone(), host.guests.clone());
        let services = &mut host.services;

        let indexer = indexing::open(&host.data_dir.index(), &ledger).map_err(UpError::folder)?;
        let (tell_standings, standings) = oneshot::channel();
        let (tell_judged, judged) = watch::channel(0);
        services.run(Indexing {
            ledger: ledger.clone(),
            indexer,
            reports: progress().0,
            at_start: AtStart { standings: Some(tell_standings), ..AtStart::default() },
            found_seconds: timings::found_seconds(),
        });
        services.run(Checkpointing { ledger: ledger.clone(), period: checkpoint_period });
        let meters = Meters::default();
        let mut processed = Vec::new();
        for (processing, (_, progress)) in processors.services(&ledger, &guests, &meters) {
            services.run(processing);
            processed.push(progress);
        }
        let log_name = orders::log_name::config_id(ledger.log_id());
        let application = application();
        let tokens = host.operator.tokens().clone();
        tokens.add(application.clone(), "").map_err(UpError::folder)?;
        let (desk, waiting) = Desk::new(ledger.clone(), tokens, log_name);
        let accepted = watch::channel(Digests::from([logger_digest])).1;
        let probation = OnProbation::default();
        services.run(Checking { logger: data.clone(), accepted, probation, waiting });
        services.run(Judging {
            ledger: ledger.clone(),
            reader: data,
            accepted: watch::channel(Digests::from([digest])).1,
            probation: OnProbation::default(),
            standings,
            judged: tell_judged,
            verdict_seconds: timings::verdict_seconds(),
            meters,
        });
        host.wait_for(Standing::is_ready).await?;
        let processor = processor_image;
        Ok(Self { ledger, judged, processed, desk, application, processor, host })
    }

    /// Has the host for processors run the one with which this was started under a further name.
    /// Returns once that answers.
    ///
    /// # Errors
    /// This was started without a processor, or it does not answer.
    pub async fn start_processor(&self, name: &ProcessorName) -> Result<(), UpError> {
        let image = self.processor.as_ref().ok_or(ComponentMissing(PROCESSOR));
        let image = image.map_err(UpError::machine)?;
        let names = Processors::of(slice::from_ref(name), image);
        let added = names.iter().map(workloads::processing);
        self.host.want.send_modify(|wanted| wanted.extend(added));
        let question = Question { version: VERSION, processor: name.clone(), events: Vec::new() };
        let question = question.to_json();
        let asked =
            || Request::new().payload(question.clone().into()).timeout(Some(ANSWER_TIMEOUT));
        let answers = async {
            while self.host.guests.send_request(name.subject(), asked()).await.is_err() {
                // Nobody hears the question yet.
                sleep(ASK_AGAIN).await;
            }
        };
        timeout(START_TIMEOUT, answers).await.map_err(UpError::machine)
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// The writer failed.
    pub async fn stop(self) -> Result<(), UpError> {
        self.host.stop().await
    }
}

/// An application of this process, which may hand in events.
fn application() -> TokenDescription {
    TokenDescription {
        name: TokenName::from_str("bench").expect("a name of a token"),
        scope: vec![Scope::Write],
        log: None,
        nkey: None,
        created_at: clock::now(),
    }
}
