//! Orders whose caller has gone, and what a crash leaves of them.

use std::{fs, path::Path};

use access::Account;
use data_dir::DataDir;
use ledger::{Batch, Ledger, Writer};
use model::{Envelope, Event, action};
use orders::{
    SiteLog, {Done, Operator, Order},
};
use tempfile::TempDir;
use tokio::task::yield_now;

/// More polls of the future than any order takes until its last step.
const TURNS_MAX: usize = 40;

struct Open {
    data_dir: DataDir,
    ledger: Ledger,
    writer: Writer,
    operator: Operator,
}

impl Open {
    fn new(folder: &Path) -> Self {
        let data_dir = DataDir::open(folder, None).unwrap();
        let SiteLog { ledger, writer, operator } = SiteLog::open(&data_dir, None).unwrap();
        Self { data_dir, ledger, writer, operator }
    }

    async fn close(self) {
        self.writer.close().await.unwrap();
        drop(self.data_dir);
    }

    /// Gives an order, and drops it after this many polls of the future. Returns whether it was
    /// done before.
    async fn order_for(&self, turns: usize, order: Order) -> bool {
        let wait = async {
            for _turn in 0..turns {
                yield_now().await;
            }
        };
        let account = Account::own();
        let given = self.operator.carry_out(order, &account);
        tokio::select! {
            biased;
            done = given => { done.unwrap(); true }
            () = wait => false,
        }
    }

    /// Number of events of an action in the log.
    fn count(&self, action: &str) -> usize {
        let stored = self.ledger.envelopes(0, usize::MAX, usize::MAX).unwrap();
        let is_one = |bytes: &Vec<u8>| Envelope::has_action(bytes, action);
        stored
            .iter()
            .filter_map(|stored| stored.bytes.as_ref())
            .filter(|bytes| is_one(bytes))
            .count()
    }
}

fn create(name: &str) -> Order {
    let (name, actor) = (name.parse().unwrap(), Some("ada".parse().unwrap()));
    Order::CreateToken { name, scope: vec!["read".parse().unwrap()], nats: false, actor }
}

fn revoke(name: &str) -> Order {
    Order::RevokeToken { name: name.parse().unwrap(), actor: Some("ada".parse().unwrap()) }
}

fn rotate() -> Order {
    Order::RotateKey { actor: Some("ada".parse().unwrap()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_carried_out_whole_whoever_waits_for_it() {
    let mut was_dropped = 0;
    for turns in 0..TURNS_MAX {
        let folder = TempDir::new().unwrap();
        let open = Open::new(folder.path());
        open.operator.carry_out(create("old"), &Account::own()).await.unwrap();
        let orders = [rotate(), create("new"), revoke("old")];
        for order in orders {
            if !open.order_for(turns, order).await {
                was_dropped += 1;
            }
        }
        // A retry at once, while the order may still be in progress.
        open.operator.carry_out(rotate(), &Account::own()).await.unwrap();
        open.close().await;

        // No key is lost: the log opens with what the files have.
        let open = Open::new(folder.path());
        assert!(!folder.path().join("site.key.next").exists());
        let rotations = open.count(action::KEY_ROTATED);
        assert_eq!(open.ledger.keys().len(), 1 + rotations, "after {turns} turns");
        assert_eq!(open.count(action::TOKEN_REVOKED), 1, "after {turns} turns");
        assert_eq!((open.count(action::TOKEN_CREATED), tokens(&open.operator).await), (2, 1));
        open.close().await;
    }
    assert!(was_dropped > 0, "every order was done before anybody could go away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_could_not_be_sealed_is_sealed_by_the_next_start() {
    let folder = TempDir::new().unwrap();
    let open = Open::new(folder.path());
    open.operator.carry_out(create("old"), &Account::own()).await.unwrap();
    // The log no longer accepts anything, as on a full disk.
    open.writer.close().await.unwrap();
    open.operator.carry_out(revoke("old"), &Account::own()).await.unwrap_err();
    assert_eq!(tokens(&open.operator).await, 0, "it lets nobody in");
    drop((open.operator, open.ledger, open.data_dir));

    let open = Open::new(folder.path());
    assert_eq!(open.count(action::TOKEN_REVOKED), 0);
    open.operator.carry_out(create("other"), &Account::own()).await.unwrap();
    assert_eq!(open.count(action::TOKEN_REVOKED), 1);
    let stored = fs::read_to_string(folder.path().join("api-tokens")).unwrap();
    assert!(!stored.contains("old"), "{stored}");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_removal_could_not_be_sealed_is_out_and_the_next_start_seals_it() {
    let folder = TempDir::new().unwrap();
    let open = Open::new(folder.path());
    let name = || "hall-1".parse().unwrap();
    let add = || Order::AddHost { name: name(), guests: false, writes: false, actor: None };
    let remove = || Order::RemoveHost { name: name(), actor: None };
    let done = open.operator.carry_out(add(), &Account::own()).await.unwrap();
    let Done::AddHost { secrets, .. } = &done else { panic!("{done:?}") };
    for secret in [&secrets.control.key, &secrets.data.key, &secrets.registry_token] {
        assert!(!format!("{done:?}").contains(secret.as_str()));
        for file in ["host-credentials", "api-tokens"] {
            assert!(!fs::read_to_string(folder.path().join(file)).unwrap().contains(secret));
        }
    }
    let refused = open.operator.carry_out(add(), &Account::own()).await.unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    assert_eq!((tokens(&open.operator).await, open.operator.hosts().all().len()), (1, 1));
    open.writer.close().await.unwrap();
    open.operator.carry_out(remove(), &Account::own()).await.unwrap_err();
    assert_eq!((tokens(&open.operator).await, open.operator.hosts().all().len()), (0, 0));
    drop((open.operator, open.ledger, open.data_dir));

    let open = Open::new(folder.path());
    assert_eq!((open.count(action::HOST_ADDED), open.count(action::HOST_REMOVED)), (1, 0));
    open.operator.seal_revocations().await.unwrap();
    open.operator.seal_revocations().await.unwrap();
    assert_eq!((open.count(action::HOST_REMOVED), open.count(action::TOKEN_REVOKED)), (1, 1));
    let refused = open.operator.carry_out(remove(), &Account::own()).await.unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    open.operator.carry_out(add(), &Account::own()).await.unwrap();
    open.close().await;
}

async fn tokens(operator: &Operator) -> usize {
    match operator.carry_out(Order::Tokens, &Account::own()).await.unwrap() {
        Done::Tokens { tokens, .. } => tokens.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_log_may_sign_with_is_never_replaced() {
    let folder = TempDir::new().unwrap();
    let open = Open::new(folder.path());
    open.writer.close().await.unwrap();
    // The state after a writer that failed when the rotation was durable.
    let next = folder.path().join("site.key.next");
    ledger::write_secret(&next, "07".repeat(32).as_bytes()).unwrap();
    open.operator.carry_out(rotate(), &Account::own()).await.unwrap_err();
    assert_eq!(fs::read_to_string(&next).unwrap().trim(), "07".repeat(32));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_erased_for_its_age_while_the_clock_is_in_doubt() {
    let retain = || Order::Retain { actor: None };
    let folder = TempDir::new().unwrap();
    let open = Open::new(folder.path());
    fs::write(folder.path().join("retention"), "TEST 1h\n").unwrap();
    open.operator.carry_out(retain(), &Account::own()).await.unwrap();
    open.close().await;
    // As if the site last ran two years ago, or the clock were two years ahead.
    let clock = r#"{"time":"2024-11-29T00:00:00.000000Z","in_doubt":false,"is_told":false}"#;
    fs::write(folder.path().join("clock"), clock).unwrap();
    for _start in 0..2 {
        let open = Open::new(folder.path());
        let refused = open.operator.carry_out(retain(), &Account::own()).await.unwrap_err();
        assert!(refused.to_string().contains("confirm-clock"), "{refused}");
        assert_eq!(open.count(action::CLOCK_JUMPED), 1, "it is sealed once");
        // Reversible orders still work.
        open.operator.carry_out(Order::Holds, &Account::own()).await.unwrap();
        open.operator
            .carry_out(create(&format!("token-{}", open.ledger.size())), &Account::own())
            .await
            .unwrap();
        open.close().await;
    }
    let open = Open::new(folder.path());
    let confirm =
        Order::ConfirmClock { actor: None, reason: "compared with a watch".parse().unwrap() };
    open.operator.carry_out(confirm, &Account::own()).await.unwrap();
    open.operator.carry_out(retain(), &Account::own()).await.unwrap();
    assert_eq!(open.count(action::CLOCK_CONFIRMED), 1);
    // The site does not believe the file either if the machine's clock has not reached its time.
    let event = Event { action: Some(String::from("TEST")), ..Event::default() };
    open.ledger.append(Batch::of(vec![event])).await.unwrap();
    open.close().await;
    fs::write(folder.path().join("clock"), clock.replace("2024", "2124")).unwrap();
    let open = Open::new(folder.path());
    let done = open.operator.carry_out(retain(), &Account::own()).await.unwrap();
    assert!(matches!(&done, Done::Retain { classes } if classes.is_empty()), "{done:?}");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_on_a_stopped_site_leaves_no_words_of_searches() {
    let folder = TempDir::new().unwrap();
    let open = Open::new(folder.path());
    let searches = folder.path().join("pangea-searches");
    assert!(!searches.exists());
    let event = Event { message: String::from("PIN 4711"), ..Event::default() };
    let batch = Batch::of(vec![event.clone(), event]);
    let first = open.ledger.append(batch).await.unwrap().first_leaf;
    let erase = |leaf: u64| Order::Erase {
        leaves: leaf.to_string().parse().unwrap(),
        with_derived: false,
        actor: None,
        reason: "a test".parse().unwrap(),
    };
    open.operator.carry_out(erase(first), &Account::own()).await.unwrap();
    assert!(!searches.exists(), "nobody searched");
    fs::write(&searches, "4711\n").unwrap();
    open.operator.carry_out(erase(first + 1), &Account::own()).await.unwrap();
    assert_eq!(fs::read_to_string(&searches).unwrap(), "");
    open.close().await;
}
