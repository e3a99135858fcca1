//! [`OrderedMap`]: the entries of a JSON object, in the order of the file.
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The entries of a JSON object in the order of the file, which `serde_json::Value` does not keep. As in Python, a
/// repeated key keeps its first place and takes its last value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OrderedMap(pub(super) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for OrderedMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = OrderedMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderedMap, A::Error> {
                let mut entries: Vec<(String, Value)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    match entries.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, old)) => *old = value,
                        None => entries.push((key, value)),
                    }
                }
                Ok(OrderedMap(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_the_order_of_the_file() {
        let map: OrderedMap = serde_json::from_str(r#"{"z": 1, "a": 2, "m": 3, "z": 4}"#).unwrap();
        let keys: Vec<_> = map.0.iter().map(|(key, value)| (key.as_str(), value.as_i64())).collect();
        assert_eq!(keys, [("z", Some(4)), ("a", Some(2)), ("m", Some(3))]);
        assert!(serde_json::from_str::<OrderedMap>("[1]").is_err());
    }
}
