// What is dropped on the page, or chosen: files, and folders with all that is in them.

const MOST_FILES = 100000;

/** Of a drop: {files: [{file, path}], folders: [[name, …]]}, `path` and `folders` being names of folders. */
export async function readDrop(transfer) {
  // Entries must be asked for before anything is waited for: the drop is over then.
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = {files: [], folders: []};
  for (const entry of entries) if (entry) await read(entry, [], found);
  return found;
}

async function read(entry, path, found) {
  if (found.files.length >= MOST_FILES) throw new Error(`More than ${MOST_FILES.toLocaleString()} files at once are too many.`);
  if (entry instanceof File) found.files.push({file: entry, path});
  else if (entry.isFile) found.files.push({file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path});
  else if (entry.isDirectory) {
    const inside = [...path, entry.name];
    found.folders.push(inside);
    const reader = entry.createReader();
    for (;;) {
      // It gives a hundred at a time, and none at the end.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      for (const each of some) await read(each, inside, found);
    }
  }
}

/** Of an input; with `webkitdirectory` its files tell which folders they are in. */
export function readChosen(input) {
  return [...input.files].map((file) => ({file, path: (file.webkitRelativePath || file.name).split("/").slice(0, -1)}));
}
