// Uploads that an earlier page began: browsers forget files with the page, so people are asked for them again.

import {Decisions} from "./conflicts.js";
import {button, countText, displayed, icon, make, tell} from "./dom.js";
import {lastOf} from "./names.js";
import {brokenOff, discard} from "./uploads.js";

/** Asks for the files of uploads that were broken off, with a note that `show` puts on the page. */
export async function offerToResume(queue, show) {
  offer(await brokenOff(), queue, show);
}

function offer(broken, queue, show) {
  if (!broken.length) return;
  const names = broken.slice(0, 3).map((each) => displayed(each.name)).join(", ") + (broken.length > 3 ? ` and ${broken.length - 3} more` : "");
  const text = make("p", {}, make("strong", {textContent: `${countText(broken.length, "upload was", "uploads were")} broken off: `}), make("bdi", {textContent: names}), ". Choose the same files again, and they go on where they were.");
  const choose = button("upload", {text: "Choose files", classes: "primary"});
  const drop = button("trash-2", {text: "Discard"});
  const input = make("input", {type: "file", multiple: true, hidden: true, "aria-label": "Files to go on with"});
  const note = make("section", {className: "resume", "aria-label": "Uploads that were broken off"}, icon("rotate-cw"), text, choose, drop, input);
  choose.addEventListener("click", () => input.click());
  drop.addEventListener("click", async () => {
    note.remove();
    await discard(broken);
  });
  input.addEventListener("change", () => {
    const decisions = new Decisions();
    let unknown = 0;
    for (const file of input.files) {
      const found = broken.find((each) => each.size === file.size && each.lastModified === file.lastModified && lastOf(each.url) === encodeURIComponent(file.name));
      if (found) {
        broken.splice(broken.indexOf(found), 1);
        queue.addResumed(file, found.url, decisions);
      } else unknown += 1;
    }
    if (unknown) tell(`${countText(unknown, "file is", "files are")} not among those that were broken off, or changed since.`, {failed: true});
    note.remove();
    offer(broken, queue, show);
  });
  show(note);
}
