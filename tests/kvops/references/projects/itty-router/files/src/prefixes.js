export const prefixes = {
  master: "master",
  session: "session:",
};
