//! [`Gather`]: slots of a cache brought together into another one.
use std::sync::Arc;

use eft_core::{Error, Result};
use eft_models::graph::SlotSelection;
use ort::value::TensorElementType;

use super::decoder::CacheValue;
use super::interface::Cache;
use crate::Ort;
use crate::backend::graph::Graph;
use crate::backend::net::{Kind, Net, Place};
use crate::backend::{integers, to_error};

/// The graphs that do it, one for each kind of cache there is.
pub(super) struct Gather(Vec<(TensorElementType, usize, Graph)>);

impl Gather {
    pub(super) fn new(ort: &Ort, caches: &[Cache]) -> ort::Result<Self> {
        let mut graphs: Vec<(TensorElementType, usize, Graph)> = Vec::new();
        for Cache { element, size, .. } in caches {
            if graphs.iter().any(|(e, s, _)| e == element && s == size) {
                continue;
            }
            let mut net = Net::default();
            let cache = net.input(*element, 4);
            let (starts, slots) = (net.argument(Kind::I64, 3), net.argument(Kind::I64, 3));
            let entries = net.reshape(cache, &[-1, *size as i64]);
            let index = net.add(starts, slots);
            let gathered = net.rows(entries, index);
            net.output_as(gathered, *element, 4, Place::Device);
            graphs.push((*element, *size, Graph::new(net, ort.builder()?)?));
        }
        Ok(Self(graphs))
    }

    /// New caches of the slots picked from caches of so many slots.
    pub(super) fn run(
        &self,
        ort: &Ort,
        caches: &[Cache],
        values: &[CacheValue],
        slots: usize,
        picked: &[SlotSelection],
    ) -> Result<Vec<CacheValue>> {
        let count = picked.first().map_or(0, |picked| picked.slots.len());
        let taken = picked.iter().flat_map(|picked| picked.slots.iter().map(|slot| *slot as i64)).collect();
        let taken = integers([picked.len(), 1, count], taken)?;
        let gather = |(cache, value): (&Cache, &CacheValue)| {
            let heads =
                |row: usize| (0..cache.heads).map(move |head| ((row * cache.heads + head) * slots) as i64);
            let starts = picked.iter().flat_map(|picked| heads(picked.row)).collect();
            let starts = integers([picked.len(), cache.heads, 1], starts)?;
            let graph = self.0.iter().find(|(e, s, _)| *e == cache.element && *s == cache.size);
            let Some((.., graph)) = graph else {
                return Err(Error::shape("graphs of caches", "one for each kind", self.0.len()));
            };
            let mut gathered = graph.run(&[value, &starts, &taken], ort.places()).map_err(to_error)?;
            gathered.pop().map(Arc::new).ok_or_else(|| Error::shape("outputs of a graph", 1, 0))
        };
        caches.iter().zip(values).map(gather).collect()
    }
}
