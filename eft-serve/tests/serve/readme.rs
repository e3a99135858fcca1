//! The commands of the README.
use std::process::Command;

use crate::shared;

#[test]
fn the_requests_of_the_readme_are_answered() {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let requests: Vec<_> = blocks.filter(|block| block.starts_with("curl")).collect();
    assert!(requests.len() >= 2);
    let address = shared();
    for block in requests {
        let script =
            block.replace("http://127.0.0.1:8000", &address).replace("curl ", "curl -sS --fail-with-body ");
        let done = Command::new("sh").args(["-ec", &script]).output().expect("a shell");
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{block}\n{text}{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(text.matches("\"choices\"").count(), block.matches("curl ").count(), "{text}");
    }
}

#[test]
fn the_configuration_of_the_readme_is_valid() {
    let readme = include_str!("../../README.md");
    let file = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let config = eft_serve::Config::parse(file.expect("a configuration"), "README.md").unwrap();
    assert_eq!(config.models["helpful"].base.as_deref(), Some("small"));
    assert_eq!(config.limits.body_bytes, eft_serve::Config::empty().limits.body_bytes);
}
