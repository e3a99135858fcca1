//! [`Traffic`]: what has crossed the wire.
use std::sync::atomic::{AtomicU64, Ordering};

/// What has been exchanged with a server.
///
/// Bytes are those of the bodies of requests and answers. The headers of HTTP, and TLS, are not counted.
///
/// ```
/// let traffic = eft_backend_remote::Traffic::default();
/// assert_eq!(traffic.requests, 0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// The requests sent, repetitions included: the round trips.
    pub requests: u64,
    /// How many of these were repetitions of requests that had failed.
    pub retries: u64,
    /// The positions that have been scored.
    pub positions: u64,
    /// The bytes sent.
    pub sent: u64,
    /// The bytes received.
    pub received: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    positions: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counters {
    pub(super) fn sent(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn scored(&self, positions: usize) {
        self.positions.fetch_add(positions as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            requests: of(&self.requests),
            retries: of(&self.retries),
            positions: of(&self.positions),
            sent: of(&self.sent),
            received: of(&self.received),
        }
    }
}
