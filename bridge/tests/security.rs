//! Nothing listens beyond loopback unless told, and only programs with the right certificate or password take part. With the
//! configuration files in `examples/`, real certificates and real processes.

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rust_tango::Link;
use support::bridge::{Bridge, Folder, PATIENCE, free_port};

/// A process that ends with the test.
struct Process(Child);

impl Process {
    /// Starts a bridge in a folder. What zenoh says goes to the file `log` there.
    fn start(folder: &Folder, arguments: &str) -> (Self, std::path::PathBuf) {
        let log = folder.file("log", "");
        let child = Command::new(env!("CARGO_BIN_EXE_tango-bridge"))
            .args(arguments.split_whitespace())
            .env("TANGO_DIR", folder.links())
            .env("RUST_LOG", "zenoh=debug")
            .stdout(fs::File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn();
        (Self(child.unwrap()), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waiting for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The local addresses of the sockets of a process: those that listen, and all of UDP.
fn open_to_others(process: u32) -> Vec<(&'static str, String)> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let own: Vec<String> = descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for kind in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let table = fs::read_to_string(format!("/proc/{process}/net/{kind}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // State 0A: it listens.
            if own.iter().any(|inode| inode == words[9]) && (words[3] == "0A" || !kind.starts_with("tcp")) {
                found.push((kind, words[1].to_owned()));
            }
        }
    }
    found
}

#[test]
fn nothing_listens_beyond_loopback_unless_told() {
    let folder = Folder::new();
    let port = free_port();
    let config = folder.file("zenoh.json5", "{ mode: 'peer' }");
    let publish = format!("publish * --listen tcp/127.0.0.1:{port} --metrics 127.0.0.1:0");
    let subscribe = format!("subscribe tango/* far.{{link}} --connect tcp/127.0.0.1:{port}");
    let with_config = format!("{subscribe} --zenoh-config {}", config.display());
    let file = folder.file(
        "bridge.toml",
        &format!("[network]\nconnect = ['tcp/127.0.0.1:{port}']\n[[publish]]\nlinks = ['a']\nas = 'here/a'"),
    );
    let in_file = format!("run {}", file.display());
    let loopback = format!("{:08X}:", u32::from(Ipv4Addr::LOCALHOST).swap_bytes());
    let mut processes = Vec::new();
    for (arguments, listening) in [(publish, 2), (subscribe, 0), (with_config, 0), (in_file, 0)] {
        let mut found = Vec::new();
        let other = Folder::new();
        let (process, log) = Process::start(&other, &arguments);
        // The first one has no other to connect to. Its sockets are there as soon as the next one has connected.
        let id = process.0.id();
        processes.push((process, other, id, listening, arguments));
        if processes.len() > 1 {
            wait_until("the connection", || {
                fs::read_to_string(&log).unwrap().contains("Successfully connected")
            });
        }
        for (_, _, id, listening, arguments) in &processes {
            if processes.len() > 1 {
                found = open_to_others(*id);
                assert_eq!(found.len(), *listening, "{arguments}: {found:?}");
            }
            let is_loopback =
                |(kind, address): &(&str, String)| *kind == "tcp" && address.starts_with(&loopback);
            assert!(found.iter().all(is_loopback), "{arguments}: {found:?}");
        }
    }
}

#[test]
fn what_is_told_is_found() {
    // So that the test above looks at the right thing.
    let folder = Folder::new();
    let port = free_port();
    let config = folder.file("zenoh.json5", "{ scouting: { multicast: { enabled: true } } }");
    let arguments = format!("publish a --listen tcp/0.0.0.0:{port} --zenoh-config {}", config.display());
    let (process, _) = Process::start(&folder, &arguments);
    let found = || open_to_others(process.0.id());
    wait_until("sockets", || {
        let everywhere =
            |(kind, address): &(&str, String)| *kind == "tcp" && address.starts_with("00000000:");
        found().iter().any(everywhere) && found().iter().any(|(kind, _)| *kind == "udp")
    });
}

/// Writes an authority's certificate, one for each of the names, and the users, into the folder `tls` beside the files of
/// `examples/`. The certificates are for this host.
fn write_secrets(folder: &Folder, password: &str) {
    let tls = folder.file("x", "").with_file_name("tls");
    fs::create_dir(&tls).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(tls.join("authority.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    for name in ["paris", "tokyo"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        fs::write(tls.join(format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(tls.join(format!("{name}.key.pem")), key.serialize_pem()).unwrap();
    }
    fs::write(tls.join("users"), format!("osaka:another one\ntokyo:{password}\n")).unwrap();
    for name in ["tls-listen", "tls-connect", "user-listen", "user-connect"] {
        let file = format!("{name}.json5");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(&file);
        folder.file(&file, &fs::read_to_string(example).unwrap());
    }
}

const PASSWORD: &str = "correct horse battery staple";

/// Starts a bridge that listens with `listen`, one that connects with a right configuration, and one with each of the wrong ones.
/// The right one gets what is sent, and the others are refused at each attempt.
fn only_the_right_one_connects(secrets: &Folder, listen: &str, right: &str, wrong: &[(&str, String)]) {
    let (here, there) = (Folder::new(), Folder::new());
    let path = |name: &str| secrets.file("x", "").with_file_name(name).display().to_string();
    let port = free_port();
    let link = Link::builder().dir(here.links()).depth(64).create("quotes").unwrap();
    let producer = link.producer().unwrap();
    let listen = format!("publish quotes --listen tls/127.0.0.1:{port} --zenoh-config {}", path(listen));
    let mut publishing = Bridge::start(&here, &listen);
    publishing.wait_for("started", 1);
    let refused: Vec<_> = wrong
        .iter()
        .map(|(what, endpoint)| {
            let folder = Folder::new();
            let arguments = format!(
                "subscribe tango/* {{link}} --connect {}",
                endpoint.replace("PORT", &port.to_string())
            );
            let (process, log) = Process::start(&folder, &arguments);
            (what, folder, process, log)
        })
        .collect();
    let right =
        format!("subscribe tango/* {{link}} --connect tls/localhost:{port} --zenoh-config {}", path(right));
    let mut subscribing = Bridge::start(&there, &right);
    assert_eq!(subscribing.wait_for("connections", 1)[0]["message"], "connected to 1 other process");
    assert_eq!(publishing.wait_for("connections", 1)[0]["message"], "connected to 1 other process");
    let mut far = None;
    wait_until("a fragment", || {
        _ = producer.publish(b"secret", 7, 0, 0);
        far = far.take().or_else(|| Link::open_in(there.links(), "quotes").ok()?.observer().ok());
        far.as_mut().is_some_and(|reader| {
            reader.poll().is_ok_and(|found| found.is_some_and(|it| it.payload.as_slice() == b"secret"))
        })
    });
    for (what, folder, _process, log) in &refused {
        let said = || fs::read_to_string(log).unwrap();
        wait_until("three attempts", || said().matches("Unable to connect to configured peer").count() >= 3);
        assert!(!said().contains("Successfully connected"), "{what}: {}", said());
        assert!(!folder.links().exists(), "{what}: a link was made");
    }
    // Nobody else has come meanwhile.
    assert_eq!(publishing.events_of("connections").len(), 1);
    let (status, said) = subscribing.finish();
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn with_certificates_on_both_sides_nobody_without_one_takes_part() {
    let (secrets, others) = (Folder::new(), Folder::new());
    write_secrets(&secrets, PASSWORD);
    // Certificates of another authority.
    write_secrets(&others, PASSWORD);
    let file = |folder: &Folder, name: &str| folder.file("x", "").with_file_name(name).display().to_string();
    // It trusts the authority, and has no certificate of its own.
    let text = "{ transport: { link: { tls: { root_ca_certificate: 'tls/authority.pem' } } } }";
    let none = secrets.file("none.json5", text).display().to_string();
    let wrong = [
        ("no certificate", format!("tls/localhost:PORT --zenoh-config {none}")),
        (
            "another authority",
            format!("tls/localhost:PORT --zenoh-config {}", file(&others, "tls-connect.json5")),
        ),
        ("no encryption", "tcp/127.0.0.1:PORT".to_owned()),
    ];
    only_the_right_one_connects(&secrets, "tls-listen.json5", "tls-connect.json5", &wrong);
}

#[test]
fn nobody_takes_part_without_the_password() {
    let secrets = Folder::new();
    write_secrets(&secrets, PASSWORD);
    let example = fs::read_to_string(secrets.file("x", "").with_file_name("user-connect.json5")).unwrap();
    let with = |name: &str, from: &str, to: &str| {
        assert!(example.contains(from));
        secrets.file(name, &example.replace(from, to)).display().to_string()
    };
    let password = with("password.json5", PASSWORD, "another one");
    let user = with("user.json5", "\"tokyo\"", "\"kyoto\"");
    let none = secrets
        .file("none.json5", "{ transport: { link: { tls: { root_ca_certificate: 'tls/authority.pem' } } } }");
    let wrong = [
        ("wrong password", format!("tls/localhost:PORT --zenoh-config {password}")),
        ("unknown user", format!("tls/localhost:PORT --zenoh-config {user}")),
        ("no user", format!("tls/localhost:PORT --zenoh-config {}", none.display())),
    ];
    only_the_right_one_connects(&secrets, "user-listen.json5", "user-connect.json5", &wrong);
}
