//! One declaration of a setting gives its field, its default, its documentation, its reader and its line in
//! the shipped file.

/// One setting as it stands in a [`Config`](crate::Config).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The section, empty for the keys above the first section.
    pub section: &'static str,
    /// The name inside the section.
    pub name: &'static str,
    /// Its line of meaning.
    pub meaning: &'static str,
    /// The value, as TOML.
    pub value: String,
}

impl Key {
    /// The key with its section: `limits.max_request`.
    pub fn path(&self) -> String {
        path(self.section, self.name)
    }
}

pub(crate) fn path(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// The variable that sets a key: `LOGMILL_LIMITS__MAX_REQUEST`.
pub(crate) fn variable(section: &str, name: &str) -> String {
    let path = if section.is_empty() { name.to_owned() } else { format!("{section}__{name}") };
    format!("LOGMILL_{}", path.to_ascii_uppercase())
}

/// Why [`Config::set`](crate::Config) did not take a value.
#[derive(Debug)]
pub(crate) enum Refused {
    NoSuchKey,
    NotThisKind { expected: &'static str },
}

macro_rules! settings {
    (
        $(#[doc = $config_doc:literal])+
        $config:ident {
            $(#[doc = $root_doc:literal] $root:ident: $root_type:ty = $root_default:expr,)+
        }
        $(
            #[doc = $section_doc:literal]
            $section:ident: $section_type:ident {
                $(#[doc = $doc:literal] $key:ident: $type:ty = $default:expr,)+
            }
        )+
    ) => {
        $(#[doc = $config_doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $config {
            $(#[doc = $root_doc] pub $root: $root_type,)+
            $(#[doc = $section_doc] pub $section: $section_type,)+
        }

        impl Default for $config {
            fn default() -> Self {
                Self { $($root: $root_default,)+ $($section: $section_type::default(),)+ }
            }
        }

        $(
            #[doc = $section_doc]
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $section_type {
                $(#[doc = $doc] pub $key: $type,)+
            }

            impl Default for $section_type {
                fn default() -> Self {
                    Self { $($key: $default,)+ }
                }
            }
        )+

        impl $config {
            /// The sections in their order, each with its line of meaning.
            pub const SECTIONS: &[(&str, &str)] = &[$((stringify!($section), $section_doc),)+];

            /// Every setting with its present value, in the order of the file.
            pub fn keys(&self) -> Vec<Key> {
                vec![
                    $(Key {
                        section: "",
                        name: stringify!($root),
                        meaning: $root_doc,
                        value: Value::to_toml(&self.$root),
                    },)+
                    $($(Key {
                        section: stringify!($section),
                        name: stringify!($key),
                        meaning: $doc,
                        value: Value::to_toml(&self.$section.$key),
                    },)+)+
                ]
            }

            pub(crate) fn set(&mut self, section: &str, name: &str, raw: Raw<'_>) -> Result<(), Refused> {
                match (section, name) {
                    $(("", stringify!($root)) => put(&mut self.$root, raw),)+
                    $($((stringify!($section), stringify!($key)) => put(&mut self.$section.$key, raw),)+)+
                    _ => Err(Refused::NoSuchKey),
                }
            }
        }

        fn put<T: Value>(field: &mut T, raw: Raw<'_>) -> Result<(), Refused> {
            *field = T::read(raw).ok_or(Refused::NotThisKind { expected: T::EXPECTED })?;
            Ok(())
        }
    };
}
pub(crate) use settings;
