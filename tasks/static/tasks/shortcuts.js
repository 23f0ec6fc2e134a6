// The keys of the admin. The page of shortcuts.py lists them.
(() => {
  const tasks = "/admin/tasks/task/";
  const pages = { c: `${tasks}quick-add/`, "?": `${tasks}shortcuts/` };
  const after_g = {
    h: "/admin/",
    t: tasks,
    b: `${tasks}board/`,
    c: `${tasks}calendar/`,
    l: `${tasks}timeline/`,
    p: "/admin/tasks/project/",
  };
  let g_until = 0; // milliseconds: until when a key belongs to a "g" before it

  function takes_keys(element) {
    const takesText = ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName);
    return takesText || element.isContentEditable || element.closest("[role=combobox]") !== null;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || takes_keys(event.target)) return;
    if (!document.querySelector("#nav-sidebar, [x-data='searchCommand()']")) return; // nobody has signed in
    const address = Date.now() < g_until ? after_g[event.key] : pages[event.key];
    g_until = event.key === "g" ? Date.now() + 1000 : 0;
    const search = event.key === "/" && document.querySelector("#changelist-search input[name=q], #searchbar");
    if (search) {
      event.preventDefault();
      search.focus();
    } else if (address) {
      event.preventDefault();
      window.location.assign(address);
    }
  });
})();
