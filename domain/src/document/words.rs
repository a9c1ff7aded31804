//! The words of a text, alike on every adapter: for searching, text is split and folded here and nowhere else.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// The words of a text: runs of letters and digits in lower case, without accents; each once, in order.
pub fn words(text: &str) -> Vec<String> {
    let folded = text.nfkd().filter(|letter| !is_combining_mark(*letter)).collect::<String>().to_lowercase();
    // Lower case may bring marks back, as that of İ does.
    let folded = folded.nfkd().filter(|letter| !is_combining_mark(*letter)).collect::<String>();
    let words = folded.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut words = words.map(str::to_owned).collect::<Vec<_>>();
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_and_folded() {
        assert_eq!(words("The Café — the\tCAFE, Straße 7!"), ["7", "cafe", "straße", "the"]);
        assert_eq!(words("İstanbul ǅ ﬁn x²"), ["dz", "fin", "istanbul", "x2"]);
        assert!(words(" \n-—!").is_empty());
    }
}
