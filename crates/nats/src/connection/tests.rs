//! The connection against a server that says what a test has it say.

use std::net::Ipv4Addr;

use model::Subject;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

/// A listener, and a connection to it that was let in.
async fn connected() -> (TcpStream, Connection<u32>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let login = Login::Password { user: "site", password: "secret" };
    let serving = async {
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(b"INFO {\"tls_required\":false}\r\n").await.unwrap();
        let introduction = read_until(&mut server, "PING\r\n").await;
        assert!(introduction.contains(r#""user":"site""#) && introduction.contains("secret"));
        server.write_all(b"+OK\r\nPONG\r\n").await.unwrap();
        server
    };
    let (server, connection) =
        tokio::join!(serving, Connection::connect(address, "test", Some(login)));
    (server, connection.unwrap())
}

async fn read_until(server: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        assert!(server.read_buf(&mut bytes).await.unwrap() > 0, "it ended");
    }
    String::from_utf8(bytes).unwrap()
}

/// Subject, payload and stamp of each message that was read.
fn messages(connection: &mut Connection<u32>) -> Vec<(String, String, u32)> {
    let mut messages = Vec::new();
    while let Some((heard, stamp)) = connection.poll_heard().unwrap() {
        let Heard::Message(message) = heard else { panic!("{heard:?}") };
        let payload = String::from_utf8(message.payload.to_owned()).unwrap();
        messages.push((message.subject.to_owned(), payload, stamp));
    }
    messages
}

#[tokio::test]
async fn a_message_has_the_stamp_of_the_read_that_completed_it() {
    let (mut server, mut connection) = connected().await;
    server.write_all(b"MSG a 1 2\r\nhi\r\nMSG b 1 4\r\nlo").await.unwrap();
    connection.turn(|| 1).await.unwrap();
    let expected = |subject: &str, payload: &str, stamp| (subject.into(), payload.into(), stamp);
    assert_eq!(messages(&mut connection), [expected("a", "hi", 1)]);
    server.write_all(b"ng\r\nMSG c 1 0\r\n\r\n").await.unwrap();
    connection.turn(|| 2).await.unwrap();
    // Read ahead: the messages before are not taken yet.
    server.write_all(b"MSG d 1 1\r\nx\r\n").await.unwrap();
    connection.turn(|| 3).await.unwrap();
    let all = [expected("b", "long", 2), expected("c", "", 2), expected("d", "x", 3)];
    assert_eq!(messages(&mut connection), all);
}

#[tokio::test]
async fn what_is_said_between_two_turns_is_sent_together_and_pings_are_answered() {
    let (mut server, mut connection) = connected().await;
    let topic = Subject::parse("a.poll").unwrap();
    connection.subscribe(&topic, 7);
    assert!(connection.publish(&topic, None, b"poll"));
    server.write_all(b"PING\r\n").await.unwrap();
    connection.turn(|| 1).await.unwrap();
    assert!(messages(&mut connection).is_empty());
    server.write_all(b"-ERR 'no'\r\n").await.unwrap();
    connection.turn(|| 2).await.unwrap();
    let (heard, _) = connection.poll_heard().unwrap().unwrap();
    assert!(matches!(heard, Heard::Refused("'no'")), "{heard:?}");
    let said = read_until(&mut server, "PONG\r\n").await;
    assert_eq!(said, "SUB a.poll 7\r\nPUB a.poll 4\r\npoll\r\nPONG\r\n");
}

#[tokio::test]
async fn a_server_that_takes_nothing_does_not_fill_the_memory() {
    let (_server, mut connection) = connected().await;
    let topic = Subject::parse("a").unwrap();
    let message = vec![b'x'; 1 << 20];
    let taken = (0..100).filter(|_| connection.publish(&topic, None, &message)).count();
    assert_eq!(taken, OUTBOX_BYTES_MAX.div_ceil(message.len() + 20));
}

#[tokio::test]
async fn a_turn_reads_all_that_has_arrived() {
    let (server, mut connection) = connected().await;
    let message = [b"MSG a 1 1000\r\n".as_slice(), &[b'x'; 1_000], b"\r\n"].concat();
    // As much as the system holds.
    let mut sent = 0;
    while let Ok(bytes) = server.try_write(&message) {
        sent += bytes;
        if bytes < message.len() {
            break;
        }
    }
    assert!(sent > 2 * READ_BYTES, "{sent} bytes");
    connection.turn(|| 1).await.unwrap();
    assert!(connection.inbox.len() > READ_BYTES, "{} of {sent} bytes", connection.inbox.len());
    assert!(messages(&mut connection).iter().all(|(_, _, stamp)| *stamp == 1));
}

#[tokio::test]
async fn what_nobody_takes_waits_at_the_server() {
    let (mut server, mut connection) = connected().await;
    let message = [b"MSG a 1 1000000\r\n".as_slice(), &[b'x'; 1_000_000], b"\r\n"].concat();
    let sending = async {
        loop {
            server.write_all(&message).await.unwrap();
        }
    };
    let reading = async {
        while connection.inbox.len() < INBOX_BYTES_MAX {
            connection.turn(|| 1).await.unwrap();
        }
        assert!(connection.inbox.len() <= INBOX_BYTES_MAX + READ_BYTES);
        assert_eq!(messages(&mut connection).len(), 4);
        // What was looked at makes room again.
        while messages(&mut connection).is_empty() {
            connection.turn(|| 2).await.unwrap();
        }
        assert!(connection.inbox.capacity() <= INBOX_BYTES_MAX + READ_BYTES);
    };
    let race = async {
        tokio::select! {
            () = sending => {}
            () = reading => {}
        }
    };
    timeout(DEADLINE, race).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_silent_is_asked_and_then_given_up() {
    let (mut server, mut connection) = connected().await;
    // Only now: time that stands still jumps while a socket is waited for.
    tokio::time::pause();
    connection.silent_at = Instant::now() + SILENCE_MAX;
    let begin = Instant::now();
    let failure = connection.turn(|| 1).await.unwrap_err();
    assert!(matches!(failure, ConnectionError::Silent), "{failure}");
    let silence = begin.elapsed();
    assert!((2 * SILENCE_MAX..3 * SILENCE_MAX).contains(&silence), "{silence:?}");
    assert_eq!(read_until(&mut server, "PING\r\n").await, "PING\r\n");
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_to_a_server_without_tls() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let certificate = rcgen::generate_simple_self_signed([String::from("localhost")]).unwrap();
    let tls = Tls::of_authorities(certificate.cert.pem().as_bytes()).unwrap();
    let serving = async {
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(b"INFO {\"tls_required\":false}\r\n").await.unwrap();
        let mut said = Vec::new();
        server.read_to_end(&mut said).await.unwrap();
        said
    };
    let connecting = Connection::<()>::connect_secured(("127.0.0.1", port), &tls, "test", None);
    let (said, refused) = tokio::join!(serving, connecting);
    assert!(matches!(refused, Err(ConnectError::NoTls)), "{refused:?}");
    assert!(said.is_empty(), "{said:?}");
}

#[tokio::test]
async fn who_is_not_let_in_hears_why() {
    for (greeting, expected) in [
        ("INFO {\"tls_required\":true}\r\n", "wants TLS"),
        ("INFO {}\r\n-ERR 'Authorization Violation'\r\n", "Authorization Violation"),
        ("HTTP/1.1 400 Bad Request\r\n", "not a NATS server"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(greeting.as_bytes()).await.unwrap();
            server
        };
        let (_server, refused) =
            tokio::join!(serving, Connection::<()>::connect(address, "test", None));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}
