//! Every family and adapter against transformers and PEFT, by the kit of eft-models; and in half precision.
use eft_backend_tch::{Kind, Torch, TorchNn};
use eft_core::Source;
use eft_core::conformance::{SourceTest, check_source};
use eft_models::conformance::{self, FAMILIES, Golden};
use eft_models::{Checkpoint, DecoderEngine};

fn nn() -> TorchNn {
    TorchNn::new(Torch::cpu())
}

fn checked<T>(verdict: conformance::Verdict<T>) -> T {
    verdict.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn families_are_those_of_transformers() {
    checked(conformance::check_families(&nn())).iter().for_each(|found| println!("{found:?}"));
}

#[test]
fn adapters_are_those_of_peft() {
    checked(conformance::check_adapters(&nn())).iter().for_each(|found| println!("{found:?}"));
}

#[test]
fn speculation_and_search() {
    checked(conformance::check_methods(&nn()));
}

#[test]
fn half_precision_is_near_and_obeys_the_laws() {
    for family in FAMILIES {
        let golden = checked(Golden::family(family));
        let load = |kind| {
            let checkpoint = Checkpoint::open(golden.folder()).unwrap();
            Source::new(DecoderEngine::load(nn().kind(kind), &checkpoint, None).unwrap())
        };
        let score = |source: &Source<Torch>| source.score([1, 5], &[9, 60, 33, 7]).unwrap().total;
        let exact = score(&load(Kind::Float));
        for kind in [Kind::BFloat16, Kind::Half] {
            let source = load(kind);
            let off = (score(&source) - exact).abs();
            assert!(off > 0.0, "{family}: nothing was rounded to {kind:?}");
            assert!(off < 0.3, "{family}: four tokens are {off} nats off in {kind:?}");
            let test = SourceTest::new(golden.prompts.clone()).tolerance(0.3).steps(10);
            check_source(&source, &test).unwrap_or_else(|failure| panic!("{family}: {failure}"));
        }
    }
}
