//! Errors of loading, as a user sees them.
use std::error::Error as _;
use std::path::Path;

use eft::load::{Error, Loader};
use eft::text::Tokenizer;

use crate::here;
use crate::loading::folder;

/// The messages of an error and of its sources.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        messages.push(error.to_string());
        source = error.source();
    }
    messages
}

/// All fallible calls of loading, with `?` in one function.
fn use_everything(folder: &Path, tokenizer: &Path) -> eft::Result<usize> {
    let tokenizer = Tokenizer::open(tokenizer)?;
    let checkpoint = eft::models::Checkpoint::open(folder)?;
    let source = Loader::new(folder.to_str().unwrap()).load()?;
    let ids = tokenizer.encode("the", true)?;
    Ok(source.render(ids)?.len() + checkpoint.name().len())
}

#[test]
fn all_errors_convert_to_one_and_keep_their_messages() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let tokenizer = folder.join("tokenizer.json");
    assert!(use_everything(&folder, &tokenizer).is_ok());

    let missing = use_everything(&folder, Path::new("missing.json")).unwrap_err();
    assert_eq!(chain(&missing), chain(&Tokenizer::open("missing.json").unwrap_err()));
    assert!(missing.to_string().contains("missing.json"), "{missing}");
    let no_name = eft::Error::from(Loader::new("no such model").load().unwrap_err());
    assert!(matches!(&no_name, eft::Error::Load(error) if error.is::<Error>()), "{no_name:?}");
    assert!(no_name.to_string().contains("`no such model`"), "{no_name}");
    assert!(no_name.source().is_none());
    // An error of the core is not wrapped.
    let wrong = eft::Error::InvalidParameter { name: "top_p", value: "2".into(), expected: "less" };
    let wrapped = Error::from(eft::models::Error::from(wrong));
    assert!(matches!(eft::Error::from(wrapped), eft::Error::InvalidParameter { name: "top_p", .. }));
}

#[test]
fn no_message_repeats_that_of_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let name = folder.to_str().unwrap();
    let broken = dir.path().join("broken.json");
    std::fs::write(&broken, "{").unwrap();
    let loader = Loader::new(name);
    let errors = [
        Loader::new("no such model").load(),
        Loader::new(here("main.rs").to_str().unwrap()).load(),
        loader.clone().tokenizer("missing.json").load(),
        loader.clone().tokenizer(&broken).load(),
        loader.clone().adapter("missing", "missing").load(),
        loader.clone().chat_named("missing").load(),
        Loader::new(dir.path().to_str().unwrap()).load(),
    ];
    for error in errors {
        let error = eft::Error::from(error.unwrap_err());
        let chain = chain(&error);
        for pair in chain.windows(2) {
            assert!(!pair[0].contains(&pair[1]), "{chain:?}");
        }
    }
}
