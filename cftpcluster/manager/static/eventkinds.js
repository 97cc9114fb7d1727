// What kinds of events are called, and what each of them means for whoever looks for trouble.

const KINDS = {
  "Log-ins": {
    LoggedIn: ["Logged in", "good"],
    LoginFailed: ["Log-in failed", "bad"],
    LoginTurnedAway: ["Log-in turned away", "warn"],
    LoggedOut: ["Logged out", "quiet"],
    SessionKicked: ["Session ended", "warn"],
    TokenUsed: ["Token used", "quiet"],
    Banned: ["Banned", "bad"],
    BanLifted: ["Ban lifted", "quiet"],
  },
  Files: {
    Uploaded: ["Uploaded", "good"],
    UploadBroken: ["Upload broke off", "warn"],
    Downloaded: ["Downloaded", "quiet"],
    Removed: ["Removed", "quiet"],
    Renamed: ["Renamed", "quiet"],
    FolderMade: ["Folder made", "quiet"],
    FolderRemoved: ["Folder removed", "quiet"],
    LinkMade: ["Link made", "quiet"],
    AttributesSet: ["Attributes set", "quiet"],
  },
  Changes: {
    Administered: ["Changed", "good"],
    ConfigurationChanged: ["Revision live", "quiet"],
    CertificateExpiring: ["Certificate ends", "warn"],
  },
  Cluster: {
    NodeStarted: ["Node started", "good"],
    NodeStopped: ["Node stopped", "warn"],
    NodeJoined: ["Node joined", "good"],
    NodeRefused: ["Node refused", "bad"],
    PrimaryChanged: ["Another primary", "warn"],
    StateChanged: ["State changed", "quiet"],
    Paused: ["Node paused", "warn"],
    Drained: ["Node drained", "warn"],
    Resumed: ["Node resumed", "good"],
    LinkUp: ["Link up", "quiet"],
    LinkDown: ["Link down", "warn"],
    EventsLost: ["Events lost", "bad"],
  },
};

const ALL = Object.assign({}, ...Object.values(KINDS));

/** What a kind is called; one that this version does not know by its own name. */
export const kindText = (kind) => ALL[kind]?.[0] ?? kind;

/** The class of its badge. */
export const lookOf = (kind) => ALL[kind]?.[1] ?? "quiet";

/** The kinds in their groups. */
export const kindsOf = () => Object.entries(KINDS).map(([title, some]) => ({title, kinds: Object.keys(some)}));
