//! Tests that the facade re-exports every public name of `eft_core` that is documented.
use std::collections::BTreeSet;
use std::path::Path;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The names in `use` trees of one level, such as `pub use a::{B, C};`.
fn names(tree: &str) -> impl Iterator<Item = &str> {
    let inner = tree.split_once('{').map_or(tree, |(_, inner)| inner.trim_end_matches('}'));
    inner
        .split(',')
        .map(|name| name.rsplit("::").next().unwrap_or(name).trim())
        .filter(|name| !name.is_empty())
}

/// The items of a file that begin with `start` and end with a semicolon, without both.
fn items<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.split('\n')
        .scan(0, move |at, line| {
            let from = *at;
            *at += line.len() + 1;
            Some((from, line))
        })
        .filter(move |(_, line)| line.starts_with(start))
        .map(move |(from, _)| {
            let item = &text[from + start.len()..];
            &item[..item.find(';').unwrap()]
        })
}

#[test]
fn the_facade_has_every_public_name_of_the_core() {
    let core = read("eft-core/src/lib.rs").replace("#[doc(hidden)]\npub ", "");
    let facade = read("src/lib.rs");
    let listed: BTreeSet<&str> = items(&facade, "pub use eft_core::").flat_map(names).collect();
    let modules = items(&core, "pub mod ");
    let types = items(&core, "pub type ").map(|item| item.split(' ').next().unwrap());
    let public: BTreeSet<&str> =
        items(&core, "pub use ").flat_map(names).chain(modules).chain(types).collect();
    let missing: Vec<_> = public.difference(&listed).collect();
    assert!(public.len() > 50 && missing.is_empty(), "add to src/lib.rs: {missing:?}");
}
