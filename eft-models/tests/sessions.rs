//! The sessions of graphs obey the laws of sessions, also where a pass or an operation of the backend fails.
use eft_core::conformance::{FaultInjector, FaultyBackend, SourceTest, check_engine, check_joins};
use eft_core::{Backend, Host, Result, Source};
use eft_models::graph::{
    ForwardInput, ForwardOutput, Graph, GraphCaps, GraphEngine, GraphSettings, Precision, SlotSelection,
};

const WIDTH: usize = 11;

/// A model whose logits depend on the last three tokens it sees and on how many it sees. Its caches are the tokens.
struct Toy {
    caps: GraphCaps,
    backend: FaultyBackend<Host>,
    injector: FaultInjector,
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (x >> 31)
}

fn logits(seen: &[i64]) -> impl Iterator<Item = f32> {
    let state = seen.iter().rev().take(3).fold(seen.len() as u64, |state, id| mix(state ^ *id as u64));
    (0..WIDTH as u64).map(move |id| (mix(state ^ (id << 32)) >> 40) as f32 / (1 << 21) as f32)
}

impl Graph for Toy {
    type Backend = FaultyBackend<Host>;
    type Caches = Vec<Vec<i64>>;

    fn backend(&self) -> &FaultyBackend<Host> {
        &self.backend
    }

    fn caps(&self) -> GraphCaps {
        self.caps
    }

    fn forward(&self, input: &ForwardInput, caches: Option<&Vec<Vec<i64>>>) -> Result<ForwardOutput<Self>> {
        self.injector.step()?;
        let mut rows = caches.cloned().unwrap_or_else(|| vec![Vec::new(); input.rows]);
        let mut scores = Vec::new();
        for (row, cache) in rows.iter_mut().enumerate() {
            let mask = &input.mask[row * (input.slots + input.tokens)..][..input.slots];
            let visible = |slot: usize| !self.caps.masked || mask[slot] == 1;
            let mut seen: Vec<_> =
                (0..input.slots).filter(|slot| visible(*slot)).map(|slot| cache[slot]).collect();
            for (index, id) in input.ids[row * input.tokens..][..input.tokens].iter().enumerate() {
                seen.push(*id);
                cache.push(*id);
                if index + input.wanted >= input.tokens {
                    scores.extend(logits(&seen));
                }
            }
        }
        let logits = match input.wanted {
            0 => None,
            wanted => Some((self.backend.upload(&scores, WIDTH)?, wanted)),
        };
        Ok(ForwardOutput { logits, caches: self.caps.cached.then_some(rows) })
    }

    fn gather(
        &self,
        caches: &Vec<Vec<i64>>,
        _: usize,
        selections: &[SlotSelection],
    ) -> Result<Vec<Vec<i64>>> {
        self.injector.step()?;
        let row = |selection: &SlotSelection| {
            selection.slots.iter().map(|slot| caches[selection.row][*slot]).collect()
        };
        Ok(selections.iter().map(row).collect())
    }
}

#[test]
fn sessions_of_graphs_obey_the_laws() {
    let caps = |cached, masked, one_row| GraphCaps { cached, masked, one_row, precision: Precision::F32 };
    let kinds = [
        caps(true, true, false),
        caps(true, true, true),
        caps(true, false, false),
        caps(false, false, false),
        caps(false, false, true),
    ];
    for caps in kinds {
        for (context, pass) in [(None, 256), (Some(40), 256), (Some(40), 4)] {
            let injector = FaultInjector::new();
            let backend = FaultyBackend::new(Host, &injector);
            let toy = Toy { caps, backend, injector: injector.clone() };
            let settings = GraphSettings::new("toy").context(context).max_tokens(pass);
            let engine = GraphEngine::new(toy, settings, None).unwrap();
            let test = SourceTest::new([vec![0], vec![3, 1, 4], vec![5, 9]]).faults(&injector);
            check_engine(&engine, &test).unwrap_or_else(|e| panic!("{caps:?}, {context:?}, {pass}: {e}"));
            let test = test.walks(2).steps(20);
            check_joins(&Source::new(engine), &test)
                .unwrap_or_else(|e| panic!("{caps:?}, {context:?}, {pass}: {e}"));
        }
    }
}
