//! Shared by the tests: waiting on conditions, and the least of the NATS protocol.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Looks again and again until the condition holds; panics after half a minute.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Whether a process lives; one that is only waiting to be reaped does not.
pub fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// A directory that is removed at the end; everybody may enter it.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = Path::new("/tmp").join(format!("tasuki-test-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        Self(dir.canonicalize().unwrap())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One request to a nats-server and its reply.
pub fn nats_request(port: u16, subject: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let hello = "CONNECT {\"verbose\":false}\r\nSUB reply.here 1\r\n";
    write!(stream, "{hello}PUB {subject} reply.here {}\r\n{body}\r\n", body.len()).unwrap();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty() && !line.starts_with("-ERR"), "{line}");
        if line.starts_with("MSG ") {
            let mut reply = vec![0; line.trim().rsplit(' ').next().unwrap().parse().unwrap()];
            lines.read_exact(&mut reply).unwrap();
            return String::from_utf8(reply).unwrap();
        }
    }
}

/// How many messages the stream `s` holds; `None` where there is no such stream.
pub fn stream_messages(port: u16) -> Option<u64> {
    let info: serde_json::Value =
        serde_json::from_str(&nats_request(port, "$JS.API.STREAM.INFO.s", "")).unwrap();
    info["state"]["messages"].as_u64()
}
