//! Plain HTTP requests.
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The JSON of an answer that has succeeded.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The parts of a stream, which must end as the protocol says.
    pub(crate) fn parts(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        let data: Vec<_> = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let (last, parts) = data.split_last().expect("a stream has parts");
        assert_eq!(*last, "[DONE]");
        parts.iter().map(|part| serde_json::from_str(part).expect("a part is JSON")).collect()
    }

    /// The field that an error names, after checks of its form.
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let error = &self.json()["error"];
        assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
        error["param"].as_str().unwrap_or_default().to_owned()
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(120))).build().into()
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = result.expect("the server answers");
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        text: response.body_mut().read_to_string().expect("the answer is text"),
    }
}

pub(crate) fn get(url: &str) -> Answer {
    answer(agent().get(url).call())
}

/// Posts a body that may be anything.
pub(crate) fn post_text(url: &str, body: impl AsRef<[u8]>) -> Answer {
    answer(agent().post(url).header("Content-Type", "application/json").send(body.as_ref()))
}

pub(crate) fn post(url: &str, body: Value) -> Answer {
    post_text(url, body.to_string())
}

pub(crate) fn post_with(url: &str, header: (&str, &str), body: Value) -> Answer {
    let request = agent().post(url).header("Content-Type", "application/json").header(header.0, header.1);
    answer(request.send(body.to_string()))
}

/// A number among the metrics of a server.
pub(crate) fn metric(url: &str, name: &str) -> f64 {
    let text = get(&format!("{url}/metrics")).text;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}
