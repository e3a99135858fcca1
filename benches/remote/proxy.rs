//! A proxy on loopback that delays what it passes on, in both directions.
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Starts a proxy before a server's url, and returns its own. A round trip takes `delay` longer: each direction takes
/// half of it. Making a connection takes no longer. The proxy lives as long as the process.
pub(crate) fn delaying(server: &str, delay: Duration) -> String {
    let address = server.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&address).unwrap());
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            pass_on(client.try_clone().unwrap(), server.try_clone().unwrap(), delay / 2);
            pass_on(server, client, delay / 2);
        }
    });
    url
}

/// Passes on everything that is read from `from`, each piece after a delay. Later pieces do not wait for earlier ones.
fn pass_on(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
