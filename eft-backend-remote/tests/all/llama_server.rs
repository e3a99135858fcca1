//! A real llama-server, if `EFT_LLAMA_SERVER` names the program: see the script `get-llama-server`.
use eft_backend_remote::{Kind, Remote};
use eft_core::conformance::{SourceTest, check_engine};
use eft_core::search::{ChunkBeamSearch, Continuation, SearchResult};
use eft_core::{Decoding, Host, Prompt, Sampling, Source, Vocab};

use crate::process::{Process, program};
use crate::zoo;

fn vocab() -> Vocab {
    Vocab::anonymous("zoo", 1000).unwrap()
}

#[test]
fn its_sessions_obey_the_laws() {
    let Some(program) = program("EFT_LLAMA_SERVER") else { return };
    let (_process, url) = Process::llama_server(&program, &zoo("gguf/base-large-f16.gguf"));
    let server = Remote::connect(&url).unwrap();
    assert_eq!(
        (server.kind(), server.vocab_size(), server.context()),
        (Kind::LlamaServer, Some(1000), Some(511))
    );
    let engine = server.engine(Host, vocab()).unwrap();
    // Its batches differ in shape, so its log-probs differ in rounding.
    let test = SourceTest::new([vec![0, 5, 6], vec![0, 40, 41, 42]]).tolerance(2e-2);
    check_engine(&engine, &test).unwrap();
}

#[test]
fn its_own_completions_and_openais_give_the_same_text() {
    let Some(program) = program("EFT_LLAMA_SERVER") else { return };
    let (_process, url) = Process::llama_server(&program, &zoo("gguf/base-large-f16.gguf"));
    let text = |remote: Remote| -> Vec<_> {
        let large = Source::new(remote.open().unwrap().engine(Host, vocab()).unwrap());
        let decoding = Decoding::from(Sampling::greedy()).max_tokens(30).stop_ids([]);
        large.generate([0, 40, 41, 42], decoding).unwrap().map(|token| token.unwrap().id).collect()
    };
    let whole = text(Remote::llama_server(&url));
    assert_eq!(text(Remote::llama_server(&url).top(5)), whole);
    assert_eq!(text(Remote::openai(&url).top(5)), whole);
    assert_eq!(whole.len(), 30);
}

#[test]
fn its_samples_are_the_base_of_a_search() {
    let Some(program) = program("EFT_LLAMA_SERVER") else { return };
    let (_process, url) = Process::llama_server(&program, &zoo("gguf/base-large-f16.gguf"));
    let base = Remote::connect(&url).unwrap().proposer();
    let letters =
        |_: &Prompt, text: &Continuation| Ok(text.text.iter().filter(|c| **c == b'a').count() as f64);
    let search = |[width, successors, chunk]: [usize; 3], sampling: Sampling| -> SearchResult {
        let search = ChunkBeamSearch::new(&base, letters).decoding(Decoding::from(sampling).max_tokens(24));
        search.width(width).successors(successors).chunk(chunk).run("Nora Abbot").unwrap()
    };
    // A greedy text does not depend on where it is cut.
    let text = |found: &SearchResult| found.best().continuation.to_text();
    let whole = search([1, 1, usize::MAX], Sampling::greedy());
    assert_eq!(text(&search([1, 1, 5], Sampling::greedy())), text(&whole));
    assert!(text(&whole).len() > 24, "{}", text(&whole));
    // Sixteen samples of one prompt are more than the server's slots. They differ, and a second run repeats them.
    let sampled = || search([4, 4, 6], Sampling::default().seed(5));
    let found = sampled();
    assert!(found.candidates.len() > 2 && found.best().score > whole.best().score, "{found:?}");
    assert_eq!(sampled().candidates, found.candidates);
}
