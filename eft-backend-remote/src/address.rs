//! From a url to the address of a server and the name of a model.
use ureq::http::Uri;

use crate::error::{Error, Result};

/// The address of a server, and the model that a url names after a `#`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The url without the `/v1` of OpenAI's interface and without a final slash.
    pub(crate) root: String,
    pub(crate) model: Option<String>,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let (location, model) = url.split_once('#').map_or((url, None), |(url, model)| (url, Some(model)));
        // A password must not appear in a message.
        let shown = match location.split_once("://") {
            Some((scheme, rest)) if rest.contains('@') => format!("{scheme}://(…)@(…)"),
            _ => location.to_owned(),
        };
        let wrong = |reason| Error::Url { url: shown.clone(), reason };
        if shown != location {
            let reason = "it contains a user name or password; name the environment variable that holds the key \
                          instead";
            return Err(wrong(reason));
        }
        let uri: Uri = location.parse().map_err(|_| wrong("it is not a url"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it does not begin with http:// or https://"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("it names no host"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has a query, the part after `?`"));
        }
        let root = location.trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root).trim_end_matches('/').to_owned();
        let model = model.filter(|model| !model.is_empty()).map(str::to_owned);
        Ok(Self { root, model })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_a_model() {
        let parsed = |url| Address::parse(url).map(|address| (address.root, address.model)).unwrap();
        let root = || "http://host:8000".to_owned();
        assert_eq!(parsed("http://host:8000"), (root(), None));
        assert_eq!(parsed("http://host:8000/v1/"), (root(), None));
        assert_eq!(parsed("http://host:8000/v1#org/name"), (root(), Some("org/name".into())));
        assert_eq!(parsed("https://host/a/v1"), ("https://host/a".into(), None));
        assert_eq!(parsed("http://[::1]:80/#"), ("http://[::1]:80".into(), None));
    }

    #[test]
    fn other_urls_are_refused_without_their_password() {
        for url in ["", "host:8000", "file:///a", "http://", "http:///v1", "http://h/v1?key=a", "http://a b/"]
        {
            let error = Address::parse(url).unwrap_err();
            assert!(error.to_string().contains(url.split('#').next().unwrap()), "{error}");
        }
        let error = Address::parse("https://me:secret@host/v1").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
