//! The protocols of other programs in which a token can be printed, by the names that are typed.

use clap::ValueEnum;

/// Whose protocol the answer follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The token and a newline
    #[default]
    Plain,
    /// A git credential helper
    GitCredential,
    /// A Kubernetes exec credential
    Kubernetes,
    /// An AWS credential_process
    Aws,
    /// A docker credential helper
    Docker,
}

impl Format {
    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::GitCredential => "git-credential",
            Self::Kubernetes => "kubernetes",
            Self::Aws => "aws",
            Self::Docker => "docker",
        }
    }
}
