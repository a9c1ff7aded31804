//! The lists in the sources that have a line for each noun.

use super::noun::Noun;

/// The list of nouns in the domain's `lib.rs`, in two columns.
pub(super) fn with_module(text: &str, name: &str) -> Option<String> {
    let key = |line: &str| {
        let name = line.strip_prefix("mod ")?.split_once(';')?.0;
        line.ends_with(&format!(" pub use {name}::*;")).then(|| name.to_owned())
    };
    let column = text.lines().find(|line| key(line).is_some())?.find("pub use ")?;
    let module = format!("mod {name};");
    let width = column.max(module.len() + 1);
    with(text, key, name, &format!("{module:<width$}pub use {name}::*;"))
}

/// The list of routes.
pub(super) fn with_routes(text: &str, noun: &Noun) -> Option<String> {
    let key = |line: &str| {
        let line = line.trim();
        let is_noun = line.starts_with("resource::<") || line.starts_with("append_only::<");
        let path = line.split_once("(\"/")?.1.split_once("\")")?.0;
        is_noun.then(|| path.to_owned())
    };
    let Noun { model, .. } = noun;
    let segment = noun.segment();
    let line = format!("        resource::<{model}, New{model}, {model}Patch>(\"/{segment}\"),");
    with(text, key, &segment, &line)
}

/// The list of tests.
pub(super) fn with_test(text: &str, name: &str) -> Option<String> {
    let key = |line: &str| line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned);
    with(text, key, name, &format!("mod {name};"))
}

/// The text with one more line, in the first run of lines that have a key: in the order of their keys.
fn with(text: &str, key: impl Fn(&str) -> Option<String>, new: &str, line: &str) -> Option<String> {
    let lines = text.lines().collect::<Vec<_>>();
    let first = lines.iter().position(|line| key(line).is_some())?;
    let keys = lines[first..].iter().map_while(|line| key(line)).collect::<Vec<_>>();
    let place = first + keys.iter().position(|key| key.as_str() > new).unwrap_or(keys.len());
    let (before, after) = lines.split_at(place);
    let mut list = before.iter().chain([&line]).chain(after).copied().collect::<Vec<_>>().join("\n");
    list.push('\n');
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_where_it_belongs() {
        let list = "//! Words.\n\nmod b;    pub use b::*;\nmod d;    pub use d::*;\n\nmod a;      pub use a::*;\n";
        for (name, place) in [("a", 2), ("c", 3), ("e", 4)] {
            let text = with_module(list, name).unwrap();
            assert_eq!(text.lines().nth(place), Some(format!("mod {name};    pub use {name}::*;").as_str()), "{text}");
            assert_eq!(text.lines().count(), list.lines().count() + 1);
        }
        let long = with_module(list, "with_a_long_name").unwrap();
        assert!(long.contains("mod with_a_long_name; pub use with_a_long_name::*;"), "{long}");
        assert_eq!(with_module("nothing\n", "a"), None);
    }
}
