//! SPDX licence expressions, as far as manifests use them: `AND`, `OR`, `WITH`, brackets, and the old `/` for `OR`.

/// Whether somebody who accepts exactly the `allowed` licences may use what stands under `expression`.
///
/// An exception (`X WITH Y`) counts as a licence of its own. What does not parse is not accepted.
pub fn accepts(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens = spaced.split_whitespace().peekable();
    let accepted = either(&mut tokens, allowed);
    accepted == Some(true) && tokens.next().is_none()
}

type Tokens<'a, I> = std::iter::Peekable<I>;

fn either<'a, I: Iterator<Item = &'a str>>(tokens: &mut Tokens<'a, I>, allowed: &[&str]) -> Option<bool> {
    let mut accepted = both(tokens, allowed)?;
    while tokens.next_if_eq(&"OR").is_some() {
        accepted |= both(tokens, allowed)?;
    }
    Some(accepted)
}

fn both<'a, I: Iterator<Item = &'a str>>(tokens: &mut Tokens<'a, I>, allowed: &[&str]) -> Option<bool> {
    let mut accepted = one(tokens, allowed)?;
    while tokens.next_if_eq(&"AND").is_some() {
        accepted &= one(tokens, allowed)?;
    }
    Some(accepted)
}

fn one<'a, I: Iterator<Item = &'a str>>(tokens: &mut Tokens<'a, I>, allowed: &[&str]) -> Option<bool> {
    match tokens.next()? {
        "(" => {
            let accepted = either(tokens, allowed)?;
            (tokens.next()? == ")").then_some(accepted)
        }
        ")" | "AND" | "OR" | "WITH" => None,
        name => match tokens.next_if_eq(&"WITH") {
            None => Some(allowed.contains(&name)),
            Some(_) => {
                let exception = tokens.next()?;
                Some(allowed.contains(&format!("{name} WITH {exception}").as_str()))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::accepts;

    const ALLOWED: [&str; 4] = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];

    #[test]
    fn one_licence_of_a_choice_is_enough() {
        assert!(accepts("MIT", &ALLOWED));
        assert!(accepts("MIT OR LGPL-2.1-or-later", &ALLOWED));
        assert!(accepts("GPL-3.0/MIT", &ALLOWED));
        assert!(accepts("GPL-3.0 OR Apache-2.0 WITH LLVM-exception", &ALLOWED));
        assert!(accepts("(GPL-3.0 OR Apache-2.0) AND Unicode-3.0", &ALLOWED));
    }

    #[test]
    fn what_binds_together_must_all_be_allowed() {
        assert!(!accepts("GPL-3.0", &ALLOWED));
        assert!(!accepts("MIT AND GPL-3.0", &ALLOWED));
        assert!(!accepts("MIT AND (GPL-3.0 OR SSPL-1.0)", &ALLOWED));
        assert!(!accepts("MIT WITH Some-exception", &ALLOWED));
    }

    #[test]
    fn what_does_not_parse_is_not_accepted() {
        for broken in ["", "MIT OR", "MIT MIT", "(MIT", "MIT)", "AND", "MIT WITH"] {
            assert!(!accepts(broken, &ALLOWED), "{broken:?}");
        }
    }
}
