//! How much one command may carry and one apply may touch. All nodes must agree on these, so they are constants and
//! not settings: a change of one is a change of apply's behaviour.

/// No apply writes more rows than this.
pub const ROWS_PER_APPLY: usize = 4_096;

/// No encoded proposal is longer, in bytes.
pub const LOG_ENTRY_BYTES: usize = 256 * 1024;

/// The largest manifest, in bytes.
pub const MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// The largest manifest that travels inside its `PutManifest`, in bytes; a larger one goes ahead in parts. Together
/// with the other limits of a put it keeps the entry below [`LOG_ENTRY_BYTES`].
pub const MANIFEST_INLINE_BYTES: usize = 32 * 1024;

/// The length of every part of a manifest but the last, in bytes. Because all proposers cut alike, parts of the same
/// digest from two proposers may mix.
pub const MANIFEST_PART_BYTES: usize = 128 * 1024;

/// How many parts a manifest may have.
pub const MANIFEST_PARTS: usize = 32;

/// How many children a manifest may name.
pub const MANIFEST_CHILDREN: usize = 1_024;

/// How long a manifest's annotations, media type and artifact type may be together, in bytes.
pub const MANIFEST_FACT_BYTES: usize = 32 * 1024;

/// How many tags one put may move.
pub const TAGS_PER_PUT: usize = 16;

/// How many manifests and blobs may hang below one put: what the check of the ack policy reads.
pub const ACK_CLOSURE: usize = 4_096;

/// How many digests a refusal names.
pub const REFUSAL_DIGESTS: usize = 1_024;

/// How many moves of a tag are remembered.
pub const TAG_HISTORY: u64 = 100;

/// How many tags one apply of a manifest's deletion removes; more answer `MoreToDo`.
pub const TAGS_PER_DELETE: usize = 256;

/// How many copies one `AddLocations` may confirm.
pub const LOCATIONS_PER_ADD: usize = 1_024;

/// How many nodes (and as many stores, and thus copies of one blob) a cluster may have.
pub const NODES: usize = 1_024;

/// How many forgotten outcomes one apply removes.
pub const DEDUPE_TRIM: u64 = 256;

/// How far a proposer may run ahead of its oldest unsettled proposal. The proposer keeps to it: apply could only
/// refuse, and a refusal that is not remembered is no answer.
pub const DEDUPE_WINDOW: u64 = 1 << 20;

/// How long parts wait for their manifest before another large push to the repository may remove them, in
/// milliseconds.
pub const STAGED_MS: u64 = 60 * 60 * 1_000;

/// How many abandoned manifests' parts one `PutManifestPart` removes at most.
pub const STAGED_SWEEP: usize = 4;

/// How many prefixes may have settings.
pub const POLICIES: usize = 1_024;

/// How many regions one policy may name.
pub const POLICY_REGIONS: usize = 64;

/// How many copies per region a policy may want.
pub const POLICY_COPIES: u32 = 16;

/// How old a bounded tag read may be at most, in milliseconds.
pub const POLICY_BOUND_MS: u64 = 60 * 60 * 1_000;

/// How many repositories that show a blob have a say in its placement; more than one matter only where policies differ.
pub const PLACEMENT_REPOS: usize = 1_024;

/// How many limits of bandwidth there may be.
pub const BANDWIDTH_LIMITS: usize = 256;
