//! A string that is a slice of the frame it came in.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use bytestring::ByteString;

/// A cheaply cloned UTF-8 string over [`Bytes`].
///
/// A decoded `Str` shares the memory of the whole frame. Whoever keeps one longer than the request
/// (a topic name in a map, say) keeps [`Str::detached`] instead, or the frame stays in memory too.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Str(ByteString);

impl Str {
    /// A string that lives as long as the program; costs nothing.
    pub const fn from_static(text: &'static str) -> Str {
        Str(ByteString::from_static(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A copy that owns its memory and lets go of the frame.
    pub fn detached(&self) -> Str {
        Str::from(self.as_str())
    }

    /// Takes the bytes without a copy when they are UTF-8; nothing when they are not.
    pub(crate) fn from_utf8(bytes: &Bytes) -> Option<Str> {
        ByteString::try_from(bytes.clone()).ok().map(Str)
    }

    /// Takes what is UTF-8 of the bytes, and U+FFFD in place of everything else. At most three times as long as they are.
    pub(crate) fn from_utf8_lossy(bytes: &Bytes) -> Str {
        Str::from(String::from_utf8_lossy(bytes).into_owned())
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        Str(ByteString::from(text))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        Str(ByteString::from(text))
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Str {
        Str(ByteString::from(text.as_str()))
    }
}

impl From<Str> for String {
    fn from(text: Str) -> String {
        text.as_str().to_owned()
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
