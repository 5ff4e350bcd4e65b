//! Events of applications, with the real component and whatever may become of its answers.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use access::{ApiTokens, Revocation, Scope, TokenDescription};
use futures::future::join_all;
use ledger::{Ledger, Writer};
use model::{
    Timestamp,
    submission::{Answer, Question},
};
use pangea::Schema;
use services::{
    applications::{
        Desk, Refused, Sealed,
        checking::{Checking, EventLogger, Silence},
    },
    pipeline::Digests,
    testing::OnProbation,
};
use tempfile::TempDir;
use tlog::{KeyName, Signer};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use work::Service as _;

const DIGEST: &str = "sha256:of-the-component";
/// The component gives no answer to a question with this text.
const POISON: &str = "poison";

/// The component, and what becomes of its answers.
#[derive(Clone, Default)]
struct Logger(Arc<State>);

#[derive(Default)]
struct State {
    /// Answers that get lost before the first one arrives.
    lost: AtomicUsize,
    /// Most submissions in an answer; any number if 0.
    answered_max: AtomicUsize,
    /// Number of submissions in each question.
    asked: Mutex<Vec<usize>>,
}

impl EventLogger for Logger {
    async fn answer(&self, question: Vec<u8>) -> Result<Vec<u8>, Silence> {
        let Self(state) = self;
        let read: Question<'_> = serde_json::from_slice(&question).unwrap();
        state.asked.lock().unwrap().push(read.submissions.len());
        let is_lost =
            state.lost.try_update(Ordering::SeqCst, Ordering::SeqCst, |more| more.checked_sub(1));
        if is_lost.is_ok() {
            return Err(Silence::Nobody);
        }
        if read.submissions.iter().any(|it| it.get().contains(POISON)) {
            return Err(Silence::NoAnswer(String::from("it trapped")));
        }
        let mut checked = event_logger::check(&read, &Schema::standard());
        match state.answered_max.load(Ordering::SeqCst) {
            0 => {}
            most => checked.truncate(most),
        }
        Ok(serde_json::to_vec(&Answer { component: DIGEST.to_owned(), checked }).unwrap())
    }
}

/// A log, an application with a token, and what is between them.
struct Plant {
    ledger: Ledger,
    tokens: ApiTokens,
    token: TokenDescription,
    desk: Desk,
    logger: Logger,
    writer: Writer,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Plant {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("sealwire.test/plant").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(&folder.path().join("ledger"), signer).unwrap();
        let tokens = ApiTokens::load(folder.path().join("api-tokens")).unwrap();
        let token = TokenDescription {
            name: "shop".parse().unwrap(),
            scope: vec![Scope::Write],
            log: None,
            nkey: None,
            created_at: Timestamp::from_unix_micros(0),
        };
        tokens.add(token.clone(), &ApiTokens::new_secret()).unwrap();
        let (desk, waiting) = Desk::new(ledger.clone(), tokens.clone(), String::from("log"));
        let (logger, stop) = (Logger::default(), CancellationToken::new());
        let checking = Checking {
            logger: logger.clone(),
            accepted: watch::channel(Digests::from([DIGEST.to_owned()])).1,
            probation: OnProbation::default(),
            waiting,
        };
        let (mut tasks, stopped) = (JoinSet::new(), stop.clone());
        tasks.spawn(async move {
            let Ok(()) = checking.run(stopped).await;
        });
        Self { ledger, tokens, token, desk, logger, writer, tasks, stop, _folder: folder }
    }

    async fn submits(&self, key: Option<&str>, submission: &str) -> Result<Sealed, Refused> {
        self.desk.submit(&self.token, key, submission.as_bytes()).await
    }

    async fn ends(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap();
        self.writer.close().await.unwrap();
    }
}

fn event(message: &str) -> String {
    format!(r#"{{"message":"{message}"}}"#)
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_sealed_once_however_often_it_is_handed_in_and_asked_about() {
    let plant = Plant::start();
    plant.logger.0.lost.store(3, Ordering::SeqCst);
    let both = format!("[{},{}]", event("a"), event("b"));
    let sealed = plant.submits(Some("k"), &both).await.unwrap();
    let leaves: Vec<u64> = sealed.receipts.iter().map(|receipt| receipt.leaf).collect();
    assert_eq!(leaves, [sealed.size - 2, sealed.size - 1]);
    assert_eq!(plant.submits(Some("k"), &both).await.unwrap(), sealed);
    let other = plant.submits(Some("k"), &event("c")).await.unwrap_err();
    assert!(matches!(other, Refused::KeyReused { .. }), "{other:?}");
    let fault = plant.submits(Some("l"), &format!("[{},{{}}]", event("c"))).await.unwrap_err();
    assert!(matches!(&fault, Refused::Fault(fault) if fault.event == Some(1)), "{fault:?}");
    assert_eq!(plant.ledger.size(), sealed.size, "nothing else was sealed");
    for key in ["", "é", &"k".repeat(129)] {
        let refused = plant.submits(Some(key), &both).await.unwrap_err();
        assert!(matches!(refused, Refused::Key), "{key}: {refused:?}");
    }
    plant.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_submission_on_which_the_component_fails_keeps_no_other_from_being_sealed() {
    let plant = Plant::start();
    let submissions: Vec<String> =
        (0..40).map(|number| event(if number == 11 { POISON } else { "fine" })).collect();
    let done = join_all(submissions.iter().map(|it| plant.submits(None, it))).await;
    for (number, done) in done.iter().enumerate() {
        match done {
            Ok(sealed) => assert!(number != 11 && sealed.receipts.len() == 1),
            Err(refused) => assert!(number == 11 && refused.status() == 503, "{refused:?}"),
        }
    }
    let asked = plant.logger.0.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|submissions| *submissions > 1), "{asked:?}");
    plant.ends().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_an_answer_is_asked_about_again() {
    let plant = Plant::start();
    plant.logger.0.answered_max.store(1, Ordering::SeqCst);
    let submissions: Vec<String> = (0..20).map(|number| event(&number.to_string())).collect();
    let done = join_all(submissions.iter().map(|it| plant.submits(None, it))).await;
    let mut leaves: Vec<u64> =
        done.into_iter().flat_map(|done| done.unwrap().receipts).map(|it| it.leaf).collect();
    leaves.sort_unstable();
    leaves.dedup();
    assert_eq!(leaves.len(), submissions.len());
    plant.ends().await;
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_before_the_check_has_nothing_sealed() {
    let plant = Plant::start();
    let first = plant.submits(None, &event("first")).await.unwrap();
    plant.logger.0.lost.store(1, Ordering::SeqCst);
    let gone = event("gone");
    tokio::select! {
        biased;
        done = plant.submits(None, &gone) => panic!("{done:?}"),
        // The question is asked, and not answered.
        () = async {
            while plant.logger.0.lost.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    let next = plant.submits(None, &event("next")).await.unwrap();
    assert_eq!(next.receipts[0].leaf, first.size);
    plant.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_or_only_reads_seals_nothing() {
    let plant = Plant::start();
    plant.submits(None, &event("first")).await.unwrap();
    let size = plant.ledger.size();
    let reader = TokenDescription {
        name: "reader".parse().unwrap(),
        scope: vec![Scope::Read],
        ..plant.token.clone()
    };
    plant.tokens.add(reader.clone(), &ApiTokens::new_secret()).unwrap();
    let other_log = TokenDescription {
        name: "other".parse().unwrap(),
        log: Some(String::from("another")),
        ..plant.token.clone()
    };
    plant.tokens.add(other_log.clone(), &ApiTokens::new_secret()).unwrap();
    for token in [&reader, &other_log] {
        let refused = plant.desk.submit(token, None, event("x").as_bytes()).await.unwrap_err();
        assert_eq!(refused.status(), 401);
    }
    // While it waits for the component.
    plant.logger.0.lost.store(1, Ordering::SeqCst);
    let second = event("second");
    let revoking = async {
        while plant.logger.0.lost.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        let by = Revocation { actor: String::from("ada"), at: Timestamp::from_unix_micros(1) };
        plant.tokens.revoke(&plant.token.name, by).unwrap();
    };
    let (done, ()) = tokio::join!(plant.submits(None, &second), revoking);
    assert!(matches!(done, Err(Refused::Token)), "{done:?}");
    assert_eq!(plant.ledger.size(), size);
    plant.ends().await;
}
