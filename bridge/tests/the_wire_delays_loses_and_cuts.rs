//! The network of the other tests does what it is told: otherwise they would test nothing.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use support::bridge::PATIENCE;
use support::wire::{ADDRESSES, Network};

/// A socket on each host, connected to the other one.
fn datagrams(network: &Network) -> [UdpSocket; 2] {
    let bind = |at: usize| network.hosts[at].run(move || UdpSocket::bind((ADDRESSES[at], 7777)).unwrap());
    let sockets = [bind(0), bind(1)];
    for (at, socket) in sockets.iter().enumerate() {
        socket.connect((ADDRESSES[1 - at], 7777)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    sockets
}

/// Sends numbers, 50 microseconds apart and then a pause, and returns what arrives within a second of the last one.
fn send(sockets: &[UdpSocket; 2], count: u32) -> Vec<u32> {
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut found, mut bytes) = (Vec::new(), [0; 4]);
            sockets[1].set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            while sockets[1].recv(&mut bytes).is_ok() {
                found.push(u32::from_le_bytes(bytes));
            }
            found
        });
        for number in 0..count {
            sockets[0].send(&number.to_le_bytes()).unwrap();
            thread::sleep(Duration::from_micros(50));
        }
        receiver.join().unwrap()
    })
}

#[test]
fn packets_are_delayed_lost_overtaken_and_cut() {
    let Some(network) = Network::new(1) else { return };
    let sockets = datagrams(&network);
    assert_eq!(send(&sockets, 500), (0..500).collect::<Vec<_>>(), "an undisturbed wire");

    network.set(|conditions| conditions.delay = Duration::from_millis(40));
    let (begin, mut bytes) = (Instant::now(), [0; 4]);
    sockets[1].set_read_timeout(Some(PATIENCE)).unwrap();
    sockets[0].send(b"late").unwrap();
    assert_eq!(sockets[1].recv(&mut bytes).unwrap(), 4);
    assert!(begin.elapsed() >= Duration::from_millis(40), "{:?}", begin.elapsed());

    network.set(|conditions| conditions.loss = 0.2);
    let found = send(&sockets, 500).len();
    assert!((300..480).contains(&found), "{found} of 500 arrived, with a fifth lost");

    network.set(|conditions| (conditions.loss, conditions.jitter) = (0.0, Duration::from_millis(5)));
    let mut found = send(&sockets, 500);
    assert!(!found.is_sorted(), "nothing was overtaken");
    found.sort_unstable();
    assert_eq!(found, (0..500).collect::<Vec<_>>());
    assert!(network.counts()[2] > 0);

    network.set(|conditions| conditions.cut = true);
    assert!(send(&sockets, 100).is_empty());
    network.set(|conditions| conditions.cut = false);
    assert_eq!(send(&sockets, 100).len(), 100);
}

#[test]
fn tcp_repairs_all_of_it() {
    let Some(network) = Network::new(2) else { return };
    network.set(|conditions| {
        conditions.delay = Duration::from_millis(2);
        conditions.jitter = Duration::from_millis(1);
        conditions.loss = 0.01;
    });
    let listener = network.hosts[0].run(|| TcpListener::bind((ADDRESSES[0], 7777)).unwrap());
    let mut stream = network.hosts[1].run(|| TcpStream::connect((ADDRESSES[0], 7777)).unwrap());
    let sent: Vec<u8> = (0..2_000_000_u32).map(|at| (at / 7) as u8).collect();
    let mut found = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            stream.write_all(&sent).unwrap();
            drop(stream);
        });
        scope.spawn(|| network.cut_for(Duration::from_millis(300)));
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.set_read_timeout(Some(PATIENCE)).unwrap();
        accepted.read_to_end(&mut found).unwrap();
    });
    assert!(found == sent, "{} bytes arrived of {}", found.len(), sent.len());
    assert!(network.counts()[1] > 0 && network.counts()[2] > 0, "{:?}", network.counts());
}
