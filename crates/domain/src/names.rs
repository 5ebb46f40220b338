//! One macro for closed lists of names: an enum whose variants are known to files and the wire by a fixed string.
//!
//! It holds no data of its own and never guesses: a name that is not in the list is `None`.

/// Defines an enum with `ALL`, `name`, `parse`, `Display` and serde by name.
macro_rules! named_enum {
    ($(#[$meta:meta])* $vis:vis enum $enum:ident { $($(#[$vmeta:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $enum { $($(#[$vmeta])* $variant,)+ }

        impl $enum {
            /// Every variant, in the order of the definition.
            pub const ALL: &'static [$enum] = &[$($enum::$variant,)+];

            /// The fixed name in files and on the wire.
            pub const fn name(self) -> &'static str {
                match self { $($enum::$variant => $name,)+ }
            }

            /// The variant of that name, `None` if the list has no such name.
            pub fn parse(name: &str) -> Option<$enum> {
                match name { $($name => Some($enum::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl serde::Serialize for $enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $enum {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                $enum::parse(&name)
                    .ok_or_else(|| serde::de::Error::custom(concat!("unknown name in ", stringify!($enum))))
            }
        }
    };
}

pub(crate) use named_enum;
