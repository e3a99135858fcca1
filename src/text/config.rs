//! [`TokenizerConfig`]: what the files beside a `tokenizer.json` say about its tokens and templates.
//!
//! `tokenizer_config.json` names the special tokens by their roles, and may add tokens to those of `tokenizer.json`. In
//! older folders, `special_tokens_map.json` and `added_tokens.json` do so. They are read as transformers reads them: the
//! two older files only if `tokenizer_config.json` has no `added_tokens_decoder`, and `special_tokens_map.json` then
//! has precedence.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eft_core::TokenId;
use eft_models::{Error, Result};
use serde_json::{Map, Value as Json};
use tokenizers::AddedToken;
use tokenizers::processors::template::{SpecialToken, TemplateProcessing};

const CONFIG: &str = "tokenizer_config.json";
const ROLES: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";

/// The roles of special tokens that transformers knows, in its order.
const STANDARD_ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The roles of tokens that occur in texts.
const TEXT_ROLES: [&str; 3] = ["bos_token", "eos_token", "unk_token"];

/// What the files beside a `tokenizer.json` say.
pub(crate) struct TokenizerConfig {
    file: PathBuf,
    fields: Map<String, Json>,
    /// The special tokens that have a role, such as `eos_token`.
    roles: Vec<Role>,
    /// Special tokens without a role.
    extra: Vec<AddedToken>,
    /// The tokens that the files add, with the ids that they give them, in the order of ids.
    added: Vec<(TokenId, AddedToken)>,
    /// The file and the field that name the added tokens.
    added_by: (PathBuf, &'static str),
}

/// A special token that has a role.
pub(crate) struct Role {
    /// The role, such as `eos_token`.
    pub(crate) name: String,
    token: AddedToken,
}

impl Role {
    /// The token, as text spells it.
    pub(crate) fn token(&self) -> &str {
        &self.token.content
    }
}

impl TokenizerConfig {
    /// Reads the files of a folder, those of them that exist.
    ///
    /// # Errors
    /// * [`Error::Io`] if a file cannot be read.
    /// * [`Error::BadFile`] if a file is not a JSON object.
    /// * [`Error::Config`] if a field that describes tokens is invalid.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let (file, map_file, added_file) = (folder.join(CONFIG), folder.join(ROLES), folder.join(ADDED));
        let fields = object(&file)?.unwrap_or_default();
        let decodes = fields.get("added_tokens_decoder").is_some_and(|field| !field.is_null());
        let map = if decodes { None } else { object(&map_file)? };
        let (roles, extra) = special((&file, &fields), map.as_ref().map(|map| (map_file.as_path(), map)))?;
        let added_by = (file.clone(), "added_tokens_decoder");
        let mut config = Self { file, fields, roles, extra, added: Vec::new(), added_by };
        if decodes {
            config.added = config.decoder()?;
        } else if let Some(map) = object(&added_file)? {
            config.added = config.encoder(&added_file, &map)?;
            config.added_by = (added_file, "token ids");
        }
        config.added.sort_by_key(|(id, _)| *id);
        Ok(config)
    }

    /// The file that most of this was read from.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// A field of `tokenizer_config.json`; null if it is absent.
    pub(crate) fn field(&self, name: &str) -> &Json {
        self.fields.get(name).unwrap_or(&Json::Null)
    }

    /// The special tokens that have a role.
    pub(crate) fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The special token of a role.
    pub(crate) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Adds the tokens to a tokenizer, and makes those special that have a role.
    ///
    /// # Errors
    /// [`Error::Config`] if a token that the tokenizer lacks cannot get the id that the files give it.
    pub(crate) fn extend(&self, inner: &mut tokenizers::Tokenizer) -> Result<()> {
        let (file, field) = &self.added_by;
        let wrong = |reason: String| Error::Config { file: file.clone(), field: (*field).into(), reason };
        let missing: Vec<_> =
            self.added.iter().filter(|(_, token)| inner.token_to_id(&token.content).is_none()).collect();
        let known = inner.get_added_tokens_decoder().into_values();
        let known = known.chain(self.added.iter().map(|(_, token)| token.clone()));
        let known: BTreeMap<_, _> = known.map(|token| (token.content.clone(), token)).collect();
        // Only prompts and texts matter here: padding and the like that the model was trained without must not become
        // tokens that it can choose.
        let of_text = |role: &&Role| {
            TEXT_ROLES.contains(&role.name.as_str()) || inner.token_to_id(role.token()).is_some()
        };
        let roles = self.roles.iter().filter(of_text).map(|role| &role.token);
        let named = roles.chain(&self.extra);
        // A list of tokens says more about a token than a role does.
        let named = named.map(|token| known.get(&token.content).unwrap_or(token).clone().special(true));
        let added: Vec<_> = self.added.iter().map(|(_, token)| token.clone()).chain(named).collect();
        inner.add_tokens(added).map_err(|e| wrong(e.to_string()))?;
        for (id, token) in missing {
            let (token, found) = (&token.content, inner.token_to_id(&token.content));
            if found != Some(*id) {
                let next = found.map_or_else(|| "none".into(), |id| id.to_string());
                return Err(wrong(format!(
                    "give `{token}` the id {id}, but the next free id of `tokenizer.json` is {next}"
                )));
            }
        }
        Ok(())
    }

    /// The tokens of `added_tokens_decoder`.
    fn decoder(&self) -> Result<Vec<(TokenId, AddedToken)>> {
        let (file, field) = &self.added_by;
        let wrong = |reason: String| Error::Config { file: file.clone(), field: (*field).into(), reason };
        let Some(entries) = self.field(field).as_object() else {
            return Err(wrong("is not an object".into()));
        };
        let entry = |(id, token): (&String, &Json)| {
            let number = id.parse().map_err(|_| wrong(format!("has the key {id:?}; expected token ids")))?;
            let token = added_token(token, false).filter(|_| token.is_object());
            let token = token.ok_or_else(|| wrong(format!("holds no token for the id {id}")))?;
            Ok((number, token))
        };
        entries.iter().map(entry).collect()
    }

    /// The tokens of `added_tokens.json`, a map from tokens to ids.
    fn encoder(&self, file: &Path, map: &Map<String, Json>) -> Result<Vec<(TokenId, AddedToken)>> {
        let special = |content: &str| {
            let mut named = self.roles.iter().map(|role| &role.token).chain(&self.extra);
            named.any(|token| token.content == content)
        };
        let entry = |(content, id): (&String, &Json)| {
            let id = id.as_u64().and_then(|id| TokenId::try_from(id).ok()).ok_or_else(|| {
                let reason = format!("is {id}; expected a token id");
                Error::Config { file: file.into(), field: content.clone(), reason }
            })?;
            Ok((id, AddedToken::from(content.clone(), special(content))))
        };
        map.iter().map(entry).collect()
    }
}

/// The special tokens with and without a role, from `tokenizer_config.json` and from `special_tokens_map.json`, which has
/// precedence. Only in the former, transformers reads the older name of those without a role.
///
/// # Errors
/// [`Error::Config`] if a field that should hold tokens holds something else.
fn special(
    config: (&Path, &Map<String, Json>),
    map: Option<(&Path, &Map<String, Json>)>,
) -> Result<(Vec<Role>, Vec<AddedToken>)> {
    let mut roles: BTreeMap<String, Role> = BTreeMap::new();
    let mut extra = Vec::new();
    for (file, fields) in [Some(config), map].into_iter().flatten() {
        let wrong = |field: &str, value: &Json, expected: &str| {
            let reason = format!("is {}; expected {expected}", shortened(value));
            Error::Config { file: file.into(), field: field.into(), reason }
        };
        let older = Some("additional_special_tokens").filter(|_| file == config.0);
        let lists = [Some("extra_special_tokens"), older].into_iter().flatten();
        let list = lists.filter_map(|name| Some((name, fields.get(name)?))).find(|(_, list)| !list.is_null());
        let mut named: Vec<_> = fields.iter().filter(|(name, _)| name.ends_with("_token")).collect();
        match list {
            Some((name, Json::Array(tokens))) => {
                for token in tokens {
                    let known = is_token(token).then(|| added_token(token, true));
                    extra.extend(known.ok_or_else(|| wrong(name, token, "a list of tokens"))?);
                }
            }
            Some((_, Json::Object(more))) => named.extend(more),
            Some((name, other)) => return Err(wrong(name, other, "a list of tokens, or tokens with names")),
            None => {}
        }
        for (name, token) in named {
            // Other fields, such as `add_bos_token`, may be flags.
            if STANDARD_ROLES.contains(&name.as_str()) && !token.is_null() && !is_token(token) {
                return Err(wrong(name, token, "a token"));
            }
            if let Some(token) = added_token(token, true) {
                roles.insert(name.clone(), Role { name: name.clone(), token });
            }
        }
    }
    let standard = STANDARD_ROLES.iter().filter_map(|name| roles.remove(*name)).collect::<Vec<_>>();
    Ok((standard.into_iter().chain(roles.into_values()).collect(), extra))
}

/// Whether a value is a token: its spelling, or an object with its spelling.
fn is_token(value: &Json) -> bool {
    value.is_string() || value["content"].is_string()
}

/// A value as it is shown in errors.
fn shortened(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A token, given by its spelling, or by an object with its spelling and its properties; `None` for anything else, and
/// for an empty token. Tokens are special if `special` is set, or if they say so.
fn added_token(value: &Json, special: bool) -> Option<AddedToken> {
    if let Some(content) = value.as_str() {
        return (!content.is_empty()).then(|| AddedToken::from(content, special));
    }
    let content = value["content"].as_str().filter(|content| !content.is_empty())?;
    let flag = |name: &str| value[name].as_bool();
    let token = AddedToken::from(content, special || flag("special").unwrap_or(false))
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false));
    Some(match flag("normalized") {
        Some(normalized) => token.normalized(normalized),
        None => token,
    })
}

/// The object that a file holds; `None` if there is no such file.
fn object(file: &Path) -> Result<Option<Map<String, Json>>> {
    if !file.exists() {
        return Ok(None);
    }
    match read_json(file)? {
        Json::Object(fields) => Ok(Some(fields)),
        _ => Err(Error::BadFile { file: file.into(), reason: "it is not a JSON object".into() }),
    }
}

/// Reads a file as text.
pub(crate) fn read_text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|source| Error::Io { file: file.into(), source })
}

/// Reads a file as JSON.
pub(crate) fn read_json(file: &Path) -> Result<Json> {
    let text = read_text(file)?;
    serde_json::from_str(&text).map_err(|e| Error::BadFile { file: file.into(), reason: e.to_string() })
}

/// The post-processor that puts these tokens before and after a sequence.
///
/// # Errors
/// The reason for which the library refuses them.
pub(super) fn begin_and_end(
    begin: Option<(String, TokenId)>,
    end: Option<(String, TokenId)>,
) -> std::result::Result<Option<TemplateProcessing>, String> {
    if begin.is_none() && end.is_none() {
        return Ok(None);
    }
    // The names in the template are made up: a token may have spaces in it.
    let parts = [begin.as_ref().map(|_| "begin"), Some("$A"), end.as_ref().map(|_| "end")];
    let template = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let named = [begin.map(|token| ("begin", token)), end.map(|token| ("end", token))];
    let tokens = named.into_iter().flatten();
    let tokens = tokens.map(|(name, (token, id))| SpecialToken::new(name.into(), vec![id], vec![token]));
    let tokens = tokens.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    let mut processing = TemplateProcessing::builder();
    processing.try_single(template.as_str())?.special_tokens(tokens);
    processing.build().map(Some).map_err(|e| e.to_string())
}
