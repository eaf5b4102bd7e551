//! Words: the sentences of answers, their pieces, ids and padding.
//!
//! Owns everything that is made up, all of it a function of its arguments. Must never know a dialect.

use super::Context;

/// The letters of ids and padding.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The most characters of a piece's word.
const PIECE: usize = 8;

/// What fills an answer. Some of it isn't ASCII, so that borders can fall inside of characters.
const SENTENCES: [&str; 8] = [
    "A good scale takes its time — even in a café — and is then believed.",
    "Nothing here was thought; every word was looked up in a short list.",
    "Seventy parts of the load go left, thirty go right, and the beam stays level.",
    "If this text arrives whole, the path between us works.",
    "The naïve reader counts words; the careful one counts bytes, 1 to 4 per character.",
    "A heavy cart passes slowly, a light one at once, and both pay by weight.",
    "When one bridge is closed, the clerk waves the next cart to another: “this way”.",
    "So much for today; ask again and the same words will come.",
];

/// Splits text into what this provider calls tokens: a word with the white space before it, long
/// words in parts. Joined, they are the text.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut letters = 0;
    for character in text.chars() {
        let begins = letters == PIECE || (character.is_whitespace() && letters > 0);
        if begins || pieces.is_empty() {
            pieces.push(String::new());
            letters = 0;
        }
        letters += usize::from(!character.is_whitespace());
        if let Some(last) = pieces.last_mut() {
            last.push(character);
        }
    }
    pieces
}

/// How many tokens a text is.
pub(crate) fn tokens(text: &str) -> u64 {
    pieces(text).len() as u64
}

/// A text that begins with `opening` and goes on with made-up sentences. With `words` it is cut, or
/// filled up, to so many words.
pub(crate) fn speech(opening: &str, start: usize, words: Option<usize>) -> String {
    let filler = SENTENCES.iter().cycle().skip(start % SENTENCES.len());
    let Some(words) = words else {
        let filler: Vec<&str> = filler.take(2).copied().collect();
        return format!("{opening} {}", filler.join(" "));
    };
    let filler = filler.flat_map(|sentence| sentence.split(' '));
    let words: Vec<&str> = opening.split(' ').chain(filler).take(words).collect();
    words.join(" ")
}

/// The first so many characters of a text, with an ellipsis where it goes on.
pub(crate) fn shortened(text: &str, characters: usize) -> String {
    let mut short: String = text.chars().take(characters).collect();
    if text.chars().nth(characters).is_some() {
        short.push('…');
    }
    short
}

/// A source of made-up values that depends on its arguments only.
pub(crate) fn seeded(seed: u64, salt: &str) -> fastrand::Rng {
    // FNV-1a: stable over versions and machines, which the standard library's hasher is not.
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let basis = 0xcbf2_9ce4_8422_2325;
    let bytes = seed
        .to_le_bytes()
        .into_iter()
        .chain(salt.bytes())
        .collect::<Vec<u8>>();
    fastrand::Rng::with_seed(bytes.iter().fold(basis, fold))
}

/// So many letters and digits.
pub(crate) fn letters(random: &mut fastrand::Rng, count: usize) -> String {
    (0..count)
        .filter_map(|_| random.choice(LETTERS))
        .map(|byte| char::from(*byte))
        .collect()
}

/// An id: a prefix and 24 letters and digits, the same for the same request to the same provider.
pub(crate) fn id(prefix: &str, context: Context<'_>, part: usize) -> String {
    let salt = format!("{}/{prefix}{}/{part}", context.config.name, context.number);
    let mut random = seeded(context.config.seed, &salt);
    format!("{prefix}{}", letters(&mut random, 24))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_joined_are_the_text(text in "\\PC{0,200}") {
            prop_assert_eq!(pieces(&text).concat(), text);
        }

        #[test]
        fn no_piece_is_empty_or_long(text in "[ a-zé\n]{0,200}") {
            for piece in pieces(&text) {
                let letters = piece.chars().filter(|letter| !letter.is_whitespace()).count();
                prop_assert!(!piece.is_empty() && letters <= 8);
            }
        }
    }

    #[test]
    fn a_piece_is_a_word_with_its_space() {
        assert_eq!(
            pieces("a good weighbridge"),
            ["a", " good", " weighbri", "dge"]
        );
    }

    #[test]
    fn a_speech_has_as_many_words_as_asked_for() {
        for words in [0, 1, 7, 500] {
            let speech = speech("one two three", 3, Some(words));
            assert_eq!(speech.split_whitespace().count(), words);
        }
    }

    #[test]
    fn an_id_depends_on_provider_seed_request_prefix_and_part() {
        use crate::{Config, Fault};

        let fault = Fault::default();
        let make = |name: &str, seed, number, prefix, part| {
            let config = Config {
                name: name.to_owned(),
                seed,
                ..Config::default()
            };
            let context = Context {
                config: &config,
                fault: &fault,
                account: None,
                number,
                account_requests: 1,
                now: 0,
            };
            id(prefix, context, part)
        };
        let ids = [
            make("a", 1, 1, "x-", 0),
            make("b", 1, 1, "x-", 0),
            make("a", 2, 1, "x-", 0),
            make("a", 1, 2, "x-", 0),
            make("a", 1, 1, "y-", 0),
            make("a", 1, 1, "x-", 1),
        ];
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
        assert_eq!(make("a", 1, 1, "x-", 0), ids[0]);
    }
}
