//! `sealwire verify URL --vkey KEY` of logs that another program wrote: Tessera's, served as files.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::site::sealwire;

/// The log that comes with Tessera's tests: 15 entries, a checkpoint at each size.
const VKEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";

/// A copy of that log, with its newest checkpoint where a log has it.
fn log_of_tests() -> TempDir {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/tessera-log");
    let log = TempDir::new().unwrap();
    copy(Path::new(source), log.path());
    fs::copy(log.path().join("checkpoint.15"), log.path().join("checkpoint")).unwrap();
    log
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::write(&to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// Serves the files of a folder, entry bundles compressed, as a plain web server would. Returns the
/// folder's address. The server runs until the test's process ends.
fn serve(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = folder.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, folder) = (stream.unwrap(), folder.clone());
            thread::spawn(move || answer(&stream, &folder));
        }
    });
    url
}

/// Answers one request and closes the connection.
fn answer(mut stream: &TcpStream, folder: &Path) {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let request = lines.next().unwrap();
    assert!(lines.by_ref().any(|line| line.to_ascii_lowercase().contains("gzip")));
    lines.find(String::is_empty).unwrap();
    let path = request.split(' ').nth(1).unwrap().trim_start_matches('/');
    let (status, headers, body) = match fs::read(folder.join(path)) {
        Err(_) => ("404 Not Found", "", Vec::new()),
        Ok(bytes) if path.starts_with("tile/entries/") => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&bytes).unwrap();
            ("200 OK", "content-encoding: gzip\r\n", packed.finish().unwrap())
        }
        Ok(bytes) => ("200 OK", "", bytes),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    // A client that has found a fault does not read on.
    let _gone = stream.write_all(&[head.as_bytes(), &body].concat());
}

#[track_caller]
fn verifies(arguments: &[&str]) -> String {
    let (code, printed, said) = sealwire(&[&["verify"], arguments].concat());
    assert_eq!(code, Some(0), "{printed}{said}");
    assert!(
        printed.contains("the log does not name its keys, so it counts as another program's"),
        "{printed}"
    );
    printed
}

/// The words after FAILED.
#[track_caller]
fn fault(arguments: &[&str]) -> String {
    let (code, printed, said) = sealwire(&[&["verify"], arguments].concat());
    assert_eq!(code, Some(1), "{printed}{said}");
    let fault = printed.lines().find_map(|line| line.strip_prefix("  FAILED  "));
    fault.unwrap_or_else(|| panic!("{printed}{said}")).to_owned()
}

#[test]
fn a_log_of_another_program_is_verified_by_its_key() {
    let log = log_of_tests();
    let url = serve(log.path());
    let printed = verifies(&[&url, "--vkey", VKEY]);
    assert!(printed.contains("ok  15 entries hash to the root "), "{printed}");
    assert!(printed.contains(&format!("ok  the checkpoint is signed by {VKEY}, ")), "{printed}");

    let since = log.path().join("checkpoint.7");
    let printed = verifies(&[&url, "--vkey", VKEY, "--since", since.to_str().unwrap()]);
    assert!(
        printed
            .contains("ok  the newest checkpoint, of 15 leaves, extends the older one of 7 leaves"),
        "{printed}"
    );

    let unknown = fault(&[&url]);
    assert!(unknown.contains("name its verifier key"), "{unknown}");
    let renamed = fault(&[&url, "--vkey", VKEY, "--origin", "log.example"]);
    assert!(renamed.contains("from the log `example.com/log/testdata`, not from"), "{renamed}");
    let (code, _printed, said) = sealwire(&["verify", "nowhere", "--vkey", VKEY, "--origin", "x"]);
    assert!(code == Some(1) && said.contains("--origin is for the address"), "{said}");
}

#[test]
fn a_changed_file_of_another_programs_log_is_named() {
    for (path, at, words) in [
        ("tile/entries/000.p/15", 2, "leaf 0: its entry in tile/entries/000.p/15 does not hash to"),
        ("tile/0/000.p/15", 33, "leaf 1: its entry in tile/entries/000.p/15 does not hash to"),
        // A letter of the root, of the size, of the signature.
        (
            "checkpoint",
            32,
            "the checkpoint does not verify: the checkpoint's signature does not verify",
        ),
        (
            "checkpoint",
            26,
            "the checkpoint does not verify: the checkpoint's signature does not verify",
        ),
        ("checkpoint", 120, "the checkpoint does not verify"),
    ] {
        let log = log_of_tests();
        let path = log.path().join(path);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let said = fault(&[&serve(log.path()), "--vkey", VKEY]);
        assert!(said.starts_with(words), "{said}");
    }
    let log = log_of_tests();
    fs::remove_file(log.path().join("tile/0/000.p/15")).unwrap();
    assert_eq!(
        fault(&[&serve(log.path()), "--vkey", VKEY]),
        "the log has no tile/0/000.p/15, so the whole log cannot be verified"
    );
}

/// A program that writes a log with Tessera, or why there is none on this machine.
fn tessera(folder: &Path) -> Result<PathBuf, String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/tessera");
    let go = |arguments: &[&str]| {
        let mut go = Command::new("go");
        go.args(arguments).current_dir(source).env("GOTOOLCHAIN", "local").output()
    };
    let modules = go(&["mod", "download"]).map_err(|error| format!("go: {error}"))?;
    if !modules.status.success() {
        return Err(String::from_utf8(modules.stderr).unwrap());
    }
    let program = folder.join("tessera");
    let built = go(&["build", "-o", program.to_str().unwrap()]).unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(program)
}

#[test]
fn a_log_that_tessera_writes_here_is_verified_by_its_key() {
    /// More than a full tile of level 1.
    const ENTRIES: &str = "70000";
    let folder = TempDir::new().unwrap();
    let program = match tessera(folder.path()) {
        Ok(program) => program,
        Err(reason) => {
            println!("SKIPPED: Tessera needs Go and its modules, and they are not here: {reason}");
            return;
        }
    };
    let log = folder.path().join("log");
    let wrote = Command::new(program).arg(&log).arg(ENTRIES).output().unwrap();
    assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    let vkey = String::from_utf8(wrote.stdout).unwrap();
    let url = serve(&log);
    let printed = verifies(&[&url, "--vkey", vkey.trim()]);
    // 274 bundles, as many tiles of level 0, and 1, 1 and 1 above them.
    assert!(printed.contains("ok  551 tiles and entry bundles match the hashes"), "{printed}");
    assert!(printed.contains(&format!("ok  {ENTRIES} entries hash to the root ")), "{printed}");

    for (path, words) in [
        (
            "tile/entries/100",
            "leaf 25600: its entry in tile/entries/100 does not hash to the value",
        ),
        ("tile/1/000", "tile/1/000 does not match the hashes of the tiles below it"),
        ("tile/2/000.p/1", "tile/2/000.p/1 does not match the hashes of the tiles below it"),
    ] {
        let path = log.join(path);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[5] ^= 1;
        fs::write(&path, changed).unwrap();
        let said = fault(&[&url, "--vkey", vkey.trim()]);
        assert!(said.starts_with(words), "{said}");
        fs::write(&path, whole).unwrap();
    }
}
