//! Which failures are worth another try, and when.
use std::io;
use std::time::{Duration, SystemTime};

/// How one try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection could not be made, was lost, or took too long.
    Lost(ureq::Error),
    /// The connection cannot be made, and another try would not help.
    Refused(ureq::Error),
    /// The server answered with another status than 200.
    Status { status: u16, message: String, retry_after: Option<Duration> },
    /// The answer is not JSON.
    NotJson(String),
    /// The answer is longer than any answer may be.
    TooLarge,
}

impl Failure {
    pub(super) fn of(error: ureq::Error) -> Self {
        use ureq::Error::{BodyExceedsLimit, ConnectionFailed, Io, Protocol, Timeout};
        match error {
            BodyExceedsLimit(_) => Self::TooLarge,
            Io(_) | Timeout(_) | ConnectionFailed | Protocol(_) => Self::Lost(error),
            other => Self::Refused(other),
        }
    }
}

/// The pause before the first repetition, and the longest one.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(8);

/// Returns how long to wait before a request is sent again after it failed for the `tries`-th time; `None` if another
/// try would not help.
///
/// The pause is as long as the server asks for. Otherwise it is random between half of and a whole interval that doubles
/// each time, so that clients that failed together do not return together.
pub(super) fn wait(failure: &Failure, tries: usize) -> Option<Duration> {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let interval = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let jittered = interval.mul_f64(0.5 + fastrand::f64() / 2.0);
    match failure {
        Failure::Status { status: 408 | 429 | 500 | 502 | 503 | 504 | 529, retry_after, .. } => {
            Some(retry_after.unwrap_or_default().max(jittered))
        }
        // The time for the whole request is over.
        Failure::Lost(ureq::Error::Timeout(ureq::Timeout::Global)) => None,
        Failure::Lost(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut => None,
        Failure::Lost(_) => Some(jittered),
        Failure::Status { .. } | Failure::Refused(_) | Failure::NotJson(_) | Failure::TooLarge => None,
    }
}

/// Reads the header `Retry-After`: a number of seconds, or a date.
pub(super) fn parse_retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<Duration>) -> Failure {
        Failure::Status { status, message: String::new(), retry_after }
    }

    #[test]
    fn pauses_double_and_are_jittered() {
        for tries in 1..40 {
            let interval = FIRST.saturating_mul(1 << (tries - 1).min(16)).min(LONGEST);
            let pause = wait(&status(503, None), tries as usize).unwrap();
            assert!(pause >= interval / 2 && pause <= interval, "{tries}: {pause:?}");
        }
    }

    #[test]
    fn a_server_that_asks_for_a_pause_gets_it() {
        let asked = Duration::from_secs(20);
        assert_eq!(wait(&status(429, Some(asked)), 1), Some(asked));
        assert_eq!(parse_retry_after(" 20 "), Some(asked));
        assert_eq!(parse_retry_after("soon"), None);
        let date = httpdate::fmt_http_date(SystemTime::now() + asked);
        let pause = parse_retry_after(&date).unwrap();
        assert!(pause <= asked && pause >= asked - Duration::from_secs(5), "{pause:?}");
        assert_eq!(parse_retry_after("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn what_repeating_cannot_mend_is_not_repeated() {
        for code in [400, 401, 403, 404, 422, 301, 204] {
            assert_eq!(wait(&status(code, None), 1), None, "{code}");
        }
        assert_eq!(wait(&Failure::NotJson(String::new()), 1), None);
        assert_eq!(wait(&Failure::Refused(ureq::Error::HostNotFound), 1), None);
    }
}
