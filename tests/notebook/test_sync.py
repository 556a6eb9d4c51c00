"""Variables there and back: `rpc_magic.notebook.sync`, `binding` and `states`."""

from __future__ import annotations

from typing import Any


def test_what_a_cell_reads_is_sent_and_what_it_binds_returns(notebook: Any) -> None:
    """Functions and their globals travel to any depth; small values are here at once."""
    notebook.good("base = 10\ndef inner(v): return v + base\ndef outer(v): return inner(v) * 2")
    notebook.good("%%rpc_call\nresult = outer(1)")
    assert notebook.good("globals()['result']").result == "22"


def test_an_edited_helper_is_sent_again(notebook: Any) -> None:
    """A later cell sees the helper as it is now, also where only another function refers to it."""
    notebook.good("def helper(): return 1\ndef use(): return helper()")
    assert notebook.good("%%rpc_call\nuse()").result == "1"
    notebook.good("def helper(): return 2")
    assert notebook.good("%%rpc_call\nuse()").result == "2"


def test_a_helper_is_found_behind_a_function_that_was_made_there(notebook: Any) -> None:
    """The names that a remote cell read are looked at again when what it made is used."""
    notebook.good("def helper(): return 1")
    notebook.good("%%rpc_call\ndef there(): return helper()")
    notebook.good("def helper(): return 2")
    assert notebook.good("%%rpc_call\nthere()").result == "2"


def test_a_helper_made_there_with_its_user_is_found_when_it_is_made_anew_here(notebook: Any) -> None:
    """What a cell bound may refer to whatever else that cell bound."""
    notebook.good("%%rpc_call\nFACTOR = 3\ndef helper(): return 1\ndef use(): return helper() * FACTOR")
    notebook.good("def helper(): return 2\nFACTOR = 5")
    assert notebook.good("%%rpc_call\nuse()").result == "10"


def test_a_list_changed_there_is_the_same_list_here(notebook: Any) -> None:
    """A change in place comes back into the object, so that every reference to it sees it."""
    notebook.good("items = [1]; other = items; table = {'a': 1}; seen = {1}; raw = bytearray(b'a')")
    notebook.good("%%rpc_call\nitems.append(2); table['b'] = 2; seen.add(2); raw.extend(b'b')")
    assert notebook.good("items is other, items, table, seen, raw").result == (
        "(True, [1, 2], {'a': 1, 'b': 2}, {1, 2}, bytearray(b'ab'))"
    )


def test_shared_objects_stay_shared(notebook: Any) -> None:
    """Two names of one object are two names of one object there, also when one of them was sent before."""
    notebook.good("one = [1]; two = one")
    notebook.good("%%rpc_call\none")
    assert notebook.good("%%rpc_call\ntwo.append(2)\none is two, one").result == "(True, [1, 2])"
    assert notebook.good("one is two, one").result == "(True, [1, 2])"


def test_objects_inside_others_stay_shared(notebook: Any) -> None:
    """What is changed through one variable is changed for all that refer to the same object, on both sides."""
    notebook.good("items = [1]; table = {'items': items}; pair = (items, table)")
    notebook.good("%%rpc_call\ntable['items'].append(2)")
    assert notebook.good("items, table['items'] is items, pair[0] is items").result == "([1, 2], True, True)"
    notebook.good("items.append(3)")
    remote = notebook.good(
        "%%rpc_call\nitems.append(4)\ntable['items'] is items, pair[0] is items, pair[1] is table"
    )
    assert remote.result == "(True, True, True)"
    assert notebook.good("table, pair[1] is table").result == "({'items': [1, 2, 3, 4]}, True)"


def test_objects_of_there_that_refer_to_each_other_stay_so(notebook: Any) -> None:
    """Also where they are fetched, and where one of them has only got a new name."""
    notebook.good(
        "%%rpc_call\nclass Node:\n    def __init__(self, up=None):\n        self.up, self.down = up, []\n"
        "        if up: up.down.append(self)\nroot = Node()\nleaf = Node(root)"
    )
    assert notebook.good("leaf.up is root, root.down[0] is leaf").result == "(True, True)"
    notebook.good("%%rpc_call\nleaf.value = 5\nsame = leaf")
    assert notebook.good("root.down[0].value, root.down[0] is leaf, leaf is same").result == "(5, True, True)"
    notebook.good("import numpy as np\na = np.zeros(2); box = {'a': a}")
    notebook.good("%%rpc_call\nbox['a'][1] = 5")
    assert notebook.good("a.tolist(), box['a'] is a").result == "([0.0, 5.0], True)"


def test_axes_stay_those_of_their_figure(notebook: Any) -> None:
    """Also in an array of them, as ``subplots`` gives it."""
    notebook.good("%%rpc_call\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots(1, 2); plt.close(fig)")
    assert notebook.good("ax[1].figure is fig, fig.axes[0] is ax[0]").result == "(True, True)"
    notebook.good("%%rpc_call\nline = ax[0].plot([1, 2])[0]; plt.close(fig)")
    assert notebook.good("len(fig.axes[0].lines), fig.axes[0] is ax[0]").result == "(1, True)"


def test_what_functions_remember_is_one_on_both_sides(notebook: Any) -> None:
    """In their cells, their defaults and their attributes."""
    notebook.good(
        "def counter():\n    n = 0; seen = []\n"
        "    def up():\n        nonlocal n\n        n += 1; seen.append(n); return n\n"
        "    return up, lambda: seen\n"
        "up, seen = counter(); same = up\ndef store(x, old=[]):\n    old.append(x); return list(old)\n"
        "def tag(): tag.calls += 1; return tag.calls\ntag.calls = 0"
    )
    cell = "up(), store('x'), tag(), seen()"
    for number in range(1, 5):
        where = "%%rpc_call\n" if number % 2 else ""
        count = list(range(1, number + 1))
        assert notebook.good(where + cell).result == repr((number, ["x"] * number, number, count))
    assert notebook.good("up is same").result == "True"


def test_what_classes_remember_is_one_on_both_sides(notebook: Any) -> None:
    """Wherever the class was made, and whether it or only an instance is mentioned."""
    text = (
        "class {0}:\n    total = 0; log = []\n    def hit(self):\n        {0}.total += 1; self.log.append({0}.total)\n"
        "        return {0}.total\n    def __repr__(self): return super().__repr__()[:0]\n{1} = {0}()"
    )
    notebook.good(text.format("Here", "h"))
    notebook.good("%%rpc_call\n" + text.format("There", "t"))
    for number in range(1, 5):
        where = "%%rpc_call\n" if number % 2 else ""
        assert notebook.good(where + "h.hit()").result == repr(number)
    notebook.good("%%rpc_call\nt.hit()")
    assert notebook.good("There.total, t.log").result == "(1, [1])"
    notebook.good("%%rpc_call\nHere.log.append('x'); There.extra = 5; Here.more = lambda self: self.total")
    assert notebook.good("h.log, t.extra, h.more(), repr(h)").result == "([1, 2, 3, 4, 'x'], 5, 4, '')"
    assert (
        notebook.good("isinstance(h, Here), isinstance(t, There), type(h) is Here").result
        == "(True, True, True)"
    )


def test_what_is_small_waits_for_nothing_that_cannot_travel(notebook: Any) -> None:
    """Nor for what is large: it is here, though something that stays there refers to it."""
    notebook.good("settings = {'a': 1}")
    notebook.good("%%rpc_call\nholder = {'settings': settings, 'source': (i for i in ())}\nsettings['b'] = 2")
    assert notebook.good("settings").result == "{'a': 1, 'b': 2}"
    notebook.good("%%rpc_call\nimport numpy as np\nmodel = {'settings': settings, 'data': np.zeros(1 << 20)}")
    assert notebook.good("settings['a']").result == "1"
    assert notebook.good("type(globals().get('mo' + 'del')).__name__").result == "'RemoteValue'"


def test_an_array_changed_there_is_the_same_array_here(notebook: Any) -> None:
    """A large value changed in place is fetched into the object that stood here before."""
    notebook.good("import numpy as np\na = np.zeros(3); b = a")
    notebook.good("%%rpc_call\na[1] = 5")
    assert notebook.good("a is b, b.tolist()").result == "(True, [0.0, 5.0, 0.0])"


def test_large_values_stay_until_they_are_mentioned(notebook: Any) -> None:
    """Until then the name holds a placeholder that says what and where it is."""
    notebook.good("%%rpc_call\nimport numpy as np\nbig = np.arange(10.0)")
    assert "RemoteValue big: numpy.ndarray" in notebook.good("repr(globals().get('b' + 'ig'))").result
    assert notebook.good("big.sum()").result == "np.float64(45.0)"
    assert notebook.good("type(globals()['big']).__name__").result == "'ndarray'"


def test_deleting_works_both_ways(notebook: Any) -> None:
    """A variable deleted on one side is gone on the other."""
    notebook.good("x = 1; y = 2")
    notebook.good("%%rpc_call\nx, y\ndel x")
    assert notebook.run("x").error == "NameError"
    notebook.good("del y")
    assert notebook.run("%%rpc_call\n1 + y").error == "NameError"


def test_a_deleted_name_that_became_something_else_here_stays(notebook: Any) -> None:
    """A deletion there takes away only the value that was in step."""
    notebook.good("x = 1")
    notebook.good("%%rpc_call\nx")
    notebook.good("x = 'new'")
    notebook.good("%%rpc_call -i ''\ndel x")
    assert notebook.good("x").result == "'new'"


def test_nothing_is_sent_twice(notebook: Any) -> None:
    """A second cell that reads the same value sends little."""
    notebook.good("import numpy as np\ndata = np.random.default_rng(0).random(200_000)")
    notebook.good(
        "def sent(): return get_ipython()._rpc_magic_extension.registry.servers['local']"
        ".connection.attachment.links.traffic[0]"
    )
    notebook.good("first = sent()")
    notebook.good("%%rpc_call\ndata.sum()")
    notebook.good("second = sent()")
    notebook.good("%%rpc_call\ndata.sum()")
    notebook.good("third = sent()")
    assert notebook.good("second - first > 1_600_000, third - second < 10_000").result == "(True, True)"


def test_a_change_here_is_sent(notebook: Any) -> None:
    """A value changed in place here is sent again."""
    notebook.good("d = {'a': 1}")
    notebook.good("%%rpc_call\nd")
    notebook.good("d['b'] = 2")
    assert notebook.good("%%rpc_call\nlen(d)").result == "2"


def test_what_cannot_travel_is_named_and_nothing_runs(notebook: Any) -> None:
    """A variable that the cell names and that cannot travel is an error before anything runs."""
    notebook.good("box = {'a': [1, (i for i in range(3))]}")
    report = notebook.run("%%rpc_call\nran = True\nbox")
    assert report.error == "TransferError"
    assert "box['a'][1] (generator) cannot travel" in report.message
    assert report.traceback.count("\n") == 0
    assert notebook.run("ran").error == "NameError"


def test_what_only_code_refers_to_may_stay_behind(notebook: Any) -> None:
    """It is no error unless it is needed; then the NameError says why it is not there."""
    notebook.good("gen = (i for i in range(3))\ndef f(use): return next(gen) if use else 'fine'")
    assert notebook.good("%%rpc_call\nf(False)").result == "'fine'"
    report = notebook.run("%%rpc_call\nf(True)")
    assert report.error == "NameError"
    assert "It was not sent: gen (generator) cannot travel" in report.traceback


def test_i_sends_exactly_these(notebook: Any) -> None:
    """With -i nothing else is sent."""
    notebook.good("a = 1; b = 2")
    assert notebook.good("%%rpc_call -i a, b\n(a, b)").result == "(1, 2)"
    notebook.good("c = 3")
    assert notebook.run("%%rpc_call -i a\nc").error == "NameError"


def test_i_of_a_missing_variable(notebook: Any) -> None:
    """It is one sentence that names them, and nothing runs."""
    report = notebook.run("%%rpc_call -i nowhere, x\nran = 1")
    assert report.error == "MissingNameError"
    assert "'nowhere'" in report.traceback
    assert report.traceback.count("\n") == 0


def test_o_brings_back_exactly_these_as_values(notebook: Any) -> None:
    """Values come at once, whatever their size; other variables stay there."""
    notebook.good("%%rpc_call -o x , y\nimport numpy as np\nx = 1; y = np.ones(2); z = 3")
    assert notebook.good("globals()['x'], type(globals()['y']).__name__, 'z' in dir()").result == (
        "(1, 'ndarray', False)"
    )
    notebook.good("%%rpc_call -o ''\nx = 'there'")
    assert notebook.good("x").result == "1"


def test_o_of_a_name_that_the_cell_did_not_bind(notebook: Any) -> None:
    """It is an error that names it."""
    report = notebook.run("%%rpc_call -o nothing\n1")
    assert report.error == "NameError"
    assert "'nothing'" in report.message


def test_i_decides_whatever_the_cell_reads(notebook: Any) -> None:
    """What the cell reads besides is not sent, and what is named is, whether it is read or not."""
    notebook.good("a, b, c = 1, [2], 3")
    assert notebook.run("%%rpc_call -i a , b\nc").error == "NameError"
    assert notebook.good("%%rpc_call -i ''\na, b").result == "(1, [2])"


def test_o_of_nothing_brings_nothing_back(notebook: Any) -> None:
    """The variable is bound there, and the one of here stays as it was."""
    notebook.good("x = [1]")
    notebook.good("%%rpc_call -o ''\nx.append(2); y = x")
    assert notebook.good("x, 'y' in dir()").result == "([1], False)"
    assert notebook.good("%rpc_call y").result == "[1, 2]"


def test_the_eager_limit_is_set_by_the_user(notebook: Any) -> None:
    """Above it a plain value waits until it is mentioned, below it comes at once."""
    kind = "type(get_ipython().user_ns['wo' + 'rds']).__name__"
    notebook.good("%rpc_config eager 1kB")
    notebook.good("%%rpc_call\nwords = [str(i) for i in range(9000)]; few = [1]")
    assert notebook.good(kind).result == "'RemoteValue'"
    assert notebook.good("type(get_ipython().user_ns['f' + 'ew']).__name__").result == "'list'"
    notebook.good("%rpc_config eager 4MB")
    notebook.good("%%rpc_call\nwords = [str(i) for i in range(300_000)]")
    assert notebook.good(kind).result == "'list'"
    notebook.good("%rpc_config eager 0")
    notebook.good("%%rpc_call\nwords = 1")
    assert notebook.good(kind).result == "'RemoteValue'"
    assert notebook.good("words").result == "1"


def test_auto_off_sends_and_brings_back_nothing(notebook: Any) -> None:
    """With the automatic choice off, -i and -o alone decide."""
    notebook.good("x = 5")
    notebook.good("%rpc_config auto off")
    assert notebook.run("%%rpc_call\nx").error == "NameError"
    assert notebook.good("%%rpc_call -i x\ny = x\nx").result == "5"
    assert notebook.run("y").error == "NameError"


def test_what_a_failed_cell_did_is_here(notebook: Any) -> None:
    """A cell that raises has bound what it bound before."""
    assert notebook.run("%%rpc_call\nbefore = 1\n1/0").error == "ZeroDivisionError"
    assert notebook.good("before").result == "1"


def test_a_value_of_one_server_is_used_on_another(notebook: Any) -> None:
    """It is fetched and sent; the name chooses the server."""
    notebook.good("%rpc_connect --name two")
    notebook.good("%%rpc_call -s local\nimport numpy as np\narr = np.arange(4)")
    assert notebook.good("%%two\nint(arr.sum())").result == "6"
    assert notebook.good("%rpc_call -s local arr.shape").result == "(4,)"


def test_a_large_upload_says_its_size(notebook: Any) -> None:
    """Above the set size the sizes are said, and the cell runs."""
    notebook.good("%rpc_config upload_warning 1MB\nimport numpy as np\nlarge = np.zeros(250_000)")
    report = notebook.good("%%rpc_call\nlarge.size")
    assert report.result == "250000"
    assert "sending 2.0 MB to local (large 2.0 MB" in report.err


def test_an_input_that_cannot_be_loaded_there(notebook: Any) -> None:
    """The cell is not run, the error says so, and what was not set is sent again."""
    notebook.good(
        "class Picky:\n    def __getstate__(self): return {'a': 1}\n"
        "    def __setstate__(self, state): raise OSError('not loaded')\ngood, bad = [1], Picky()"
    )
    report = notebook.run("%%rpc_call\nran = good\nbad")
    assert report.error == "OSError"
    assert "not loaded" in report.message
    assert "rpc_magic/" not in report.traceback
    assert notebook.run("ran").error == "NameError"
    assert notebook.good("%%rpc_call\ngood").result == "[1]"


def test_a_cell_that_reads_names_from_text_gets_all(notebook: Any) -> None:
    """Where the names cannot be told, all variables that can travel are sent."""
    notebook.good("secret = 42; gen = (i for i in ())")
    assert notebook.good("%%rpc_call\neval('sec' + 'ret')").result == "42"


def test_a_module_that_is_here_is_bound_at_once(notebook: Any) -> None:
    """A remote import of a module that is imported here leaves no placeholder."""
    notebook.good("import json\n%rpc_call 1")
    notebook.good("%%rpc_call\nimport json")
    assert notebook.good("type(globals()['json']).__name__").result == "'module'"


def test_history_is_each_sides_own(notebook: Any) -> None:
    """The results of remote cells are numbered by this notebook."""
    notebook.good("'here'")
    notebook.good("%%rpc_call\n'there'")
    assert notebook.good("_").result == "'there'"
    assert notebook.good("__").result == "'there'"


def test_instances_and_tables_keep_their_identity(notebook: Any) -> None:
    """Objects changed there are the same objects here, also under names that the cell did not mention."""
    notebook.good("class P:\n    def __init__(self): self.v = 1\np = P(); q = p")
    notebook.good("import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]}); same = df")
    notebook.good("%%rpc_call\np.v = 2\ndf['b'] = 3\nview = df")
    assert notebook.good("q.v, q is p").result == "(2, True)"
    assert notebook.good("list(same.columns)").result == "['a', 'b']"
    assert notebook.good("df is same").result == "True"


def test_what_cannot_be_changed_in_place_is_bound_under_all_its_names(notebook: Any) -> None:
    """A tuple whose iterator has moved on becomes another tuple, under every name."""
    notebook.good("t = (iter([1, 2, 3, 4]),); u = t")
    notebook.good("%%rpc_call\nnext(t[0])")
    assert "t was changed there and is bound anew here" in notebook.good("t is u").err
    notebook.good("%%rpc_call\nnext(t[0])")
    report = notebook.good("u is t, list(t[0])")
    assert (report.result, report.err) == ("(True, [3, 4])", "")


def test_one_object_of_there_is_one_object_here(notebook: Any) -> None:
    """Two names of a large value are fetched together, whichever is mentioned; a name bound anew since is not."""
    notebook.good("%%rpc_call\nimport numpy as np\na = np.zeros(3); b = a; c = a; a")
    notebook.good("%%rpc_call\nc = np.ones(3)")
    notebook.good("b[0] = 7")
    assert (
        notebook.good("a is b, a.tolist(), c.tolist()").result == "(True, [7.0, 0.0, 0.0], [1.0, 1.0, 1.0])"
    )
    assert notebook.good("%%rpc_call\na is b, float(a[0]), float(c[0])").result == "(True, 7.0, 1.0)"


def test_a_name_that_is_made_up_where_it_is_bound_sends_nothing(notebook: Any) -> None:
    """`globals()[text] = value` reads no variable, so none is sent, and what it bound is here."""
    notebook.good("unread = [1]; n = 3")
    notebook.good("%%rpc_call\nglobals()[f'made_{n}'] = n * 2")
    assert notebook.good("made_3").result == "6"
    assert notebook.run("%%rpc_call -i ''\nunread").error == "NameError"


def test_results_of_both_sides_are_one_history(notebook: Any) -> None:
    """`_`, `__` and Out have the newest results of the notebook, wherever they were made and are read."""
    notebook.good("1.5")
    notebook.good("%%rpc_call\nimport numpy as np\nnp.float64(3)")
    assert notebook.good("%%rpc_call\nprint(_ + 1, __)").out == "4.0 1.5\n"
    assert notebook.good("print(_ + 1, __)").out == "4.0 1.5\n"
    for _ in range(2):  # the same value as before is no less new
        notebook.good("'here'")
        assert notebook.good("%%rpc_call\nprint(_)").out == "here\n"
        notebook.good("%%rpc_call\n'there'")
        assert notebook.good("print(_, __)").out == "there here\n"
    report = notebook.good("%%rpc_call\nprint(Out[max(Out)], len(set(map(str, Out.values()))))")
    assert report.out == "there 4\n"


def test_what_shares_with_what_is_sent_goes_along(notebook: Any) -> None:
    """A variable that is sent for what it shares takes along those that share something else with it, and so on."""
    notebook.good("s, a = [0], [1]\nb = {'a': a, 's': s}\nt = [s]")
    notebook.good("%%rpc_call\na, b, t, s;")
    notebook.good("s.append(1)")
    assert notebook.good("%%rpc_call\nlen(t)").result == "1"
    assert notebook.good("%%rpc_call\na.append(2)\nb['a'] is a").result == "True"
    assert notebook.good("(b['a'], b['a'] is a)").result == "([1, 2], True)"


def test_what_only_a_session_holds_keeps_sharing(notebook: Any) -> None:
    """A value that comes by itself shares its objects with what stayed there when an earlier cell ended."""
    notebook.good("box, d = [1], {}\ndef make(box):\n    def inc():\n        return box\n    return inc")
    notebook.good("%%rpc_call\nf = make(box)")
    notebook.good("%%rpc_call\nd['x'] = box")
    assert notebook.good("d['x'] is box, f() is box").result == "(True, True)"


def test_a_variable_bound_anew_here_is_another_object_there(notebook: Any) -> None:
    """What the session has under its name, and shares with others there, is not taken for it any more."""
    notebook.good(
        "%%rpc_call\nbox = [1]\ndef make(box):\n    def inc():\n        box.append(2)\n    return inc\nf = make(box)"
    )
    notebook.good("box = box + [5]")
    notebook.good("%%rpc_call\nf()")
    assert notebook.good("box").result == "[1, 5]"


def test_an_equal_object_is_not_the_same(notebook: Any) -> None:
    """A variable bound here to an equal object no longer shares with another, here and there."""
    notebook.good("a = b = [1]")
    notebook.good("%%rpc_call\na, b;")
    notebook.good("b = [1]")
    notebook.good("%%rpc_call\nb.append(2)")
    assert notebook.good("a, b").result == "([1], [1, 2])"


def test_a_cell_binds_what_the_session_had_already(notebook: Any) -> None:
    """A binding to the very object that the session has under the name is one where this was bound anew here."""
    notebook.good("a = b = {1}")
    notebook.good("%%rpc_call\na, b;")
    notebook.good("b = {2}")
    notebook.good("%%rpc_call\nb = a")
    assert notebook.good("b, a is b").result == "({1}, True)"


def test_a_method_of_an_object_that_came_back(notebook: Any) -> None:
    """A bound method in a changed instance is that of the instance that is here."""
    notebook.good("class C:\n    def put(self): return self\nc = C()")
    notebook.good("%%rpc_call\nc.w = c.put")
    assert notebook.good("c.w() is c").result == "True"


def test_a_class_changed_here_is_not_set_back(notebook: Any) -> None:
    """An instance that is fetched later does not bring its class's old attributes along."""
    notebook.good("%%rpc_call\nclass C:\n    seen = []\no = C()")
    notebook.good("C.seen.append(1)")
    assert notebook.good("o.seen").result == "[1]"


def test_a_class_changed_there_is_not_set_back(notebook: Any) -> None:
    """An instance that is sent later does not bring its class's old attributes along."""
    notebook.good("class C:\n    seen = []\no = C()")
    notebook.good("%%rpc_call\nC.seen.append(1)")
    assert notebook.good("%%rpc_call\no.seen").result == "[1]"


def test_attributes_of_functions_are_shared(notebook: Any) -> None:
    """What hangs on a function is the same object as under its own name."""
    notebook.good("def f(): pass\nf.note = s = {1}")
    notebook.good("%%rpc_call\nf.note.add(2)")
    assert notebook.good("s, f.note is s").result == "({1, 2}, True)"


def test_what_came_to_be_shared_there_is_fetched_together(notebook: Any) -> None:
    """A cell that makes two variables of the session's share an object, which only one of them shows here."""
    notebook.good("%%rpc_call\nclass C: pass\no, p, box = C(), C(), [1]\nbox.append(C())")
    notebook.good("%%rpc_call\no.v = p\np.box = box")
    notebook.good("p")
    assert notebook.good("o.v is p, p.box is box").result == "(True, True)"


def test_a_class_goes_back_to_where_it_was_defined(notebook: Any) -> None:
    """Changed on another server, it is changed where it came from, whatever ran there meanwhile."""
    notebook.good("%rpc_connect --name two --no-widget\n%rpc_connect --name one --no-widget")
    notebook.good("%%one\nclass C:\n    seen = []")
    notebook.good("%%two\nC.seen.append(1)")
    notebook.good("%%one\n1")
    assert notebook.good("%%one\nC.seen").result == "[1]"


def test_a_class_changed_here_reaches_instances_there(notebook: Any) -> None:
    """An instance that has stayed there since another cell sees what its class has become here."""
    notebook.good("class C: pass\nc = C()")
    notebook.good("%%rpc_call\nc.v = [object()]")
    notebook.good("C.extra = 1")
    assert notebook.good("%%rpc_call\nc.extra").result == "1"


def test_an_older_result_is_no_change(notebook: Any) -> None:
    """That `__` is bound anew with each result brings nothing back over what was changed here since."""
    notebook.good("%%rpc_call\nstock = [1]\nshelf = stock\nshelf")
    notebook.good("shelf.append(2)")
    notebook.good("%%rpc_call\n5 + 5")
    assert notebook.good("stock, stock is shelf").result == "([1, 2], True)"


def test_what_comes_along_is_not_older_than_what_is_here(notebook: Any) -> None:
    """A variable that was made of something older there refers to what that has become here."""
    notebook.good("%%rpc_call\nimport builtins\nstock = [1]\nbuiltins.hidden = stock")
    notebook.good("stock.append(2)")
    notebook.good("%%rpc_call\nbox = [builtins.hidden]")
    assert notebook.good("stock, box[0] is stock").result == "([1, 2], True)"
    assert notebook.good("%%rpc_call\nstock").result == "[1, 2]"


def test_what_other_objects_refer_to_is_shared(notebook: Any) -> None:
    """Partial functions, methods, exceptions, namespaces, keys of dicts and frozen sets lead to one object."""
    notebook.good(
        "import functools, types\nitems = [1]\nadd = functools.partial(lambda box, x: box.append(x), items)\n"
        "append = items.append\nerror = ValueError('a', items)\nspace = types.SimpleNamespace(items=items)\n"
        "class Key: n = 0\nkey = Key(); keyed = {key: 1}; frozen = frozenset([key])"
    )
    notebook.good("%%rpc_call\nadd(2); append(3); error.args[1].append(4); space.items.append(5); key.n = 6")
    assert notebook.good("print(items)").out == "[1, 2, 3, 4, 5]\n"
    look = "print(error.args[1] is items is space.items is add.args[0], next(iter(keyed)) is key is next(iter(frozen)))"
    assert notebook.good(look).out == "True True\n"
    notebook.good("append(6); key.n = 7")
    assert (
        notebook.good(f"%%rpc_call\n{look}\nprint(items[-1], next(iter(keyed)).n)").out == "True True\n6 7\n"
    )


def test_generators_of_random_numbers_are_one_wherever_they_are(notebook: Any) -> None:
    """A generator that an instance holds goes on where the last draw left it."""
    plain = notebook.good(
        "import numpy as np\nr = np.random.default_rng(5)\nprint([int(r.integers(99)) for _ in range(4)])"
    )
    notebook.good("rng = np.random.default_rng(5)\nheld = [rng]")
    draw = "print(int({0}.integers(99)), int({1}.integers(99)))"
    first = notebook.good("%%rpc_call\n" + draw.format("rng", "held[0]")).out.split()
    second = notebook.good(draw.format("held[0]", "rng")).out.split()
    assert f"[{', '.join([*first, *second])}]\n" == plain.out


def test_what_a_class_and_variables_share_is_one_object(notebook: Any) -> None:
    """A change through the class or through the variable is seen through both, here and there."""
    notebook.good("class K:\n    options = {'a': 1}\n    def __init__(self): self.v = 0")
    notebook.good("options = K.options; K.first = first = K()")
    same = "options is K.options, K.first is first, options, first.v"
    assert notebook.good(f"%%rpc_call\noptions['b'] = 2; K.first.v = 1\n{same}").result == (
        "(True, True, {'a': 1, 'b': 2}, 1)"
    )
    assert notebook.good(same).result == "(True, True, {'a': 1, 'b': 2}, 1)"
    notebook.good("K.options['c'] = 3; first.v = 2")
    assert notebook.good(f"%%rpc_call\n{same}").result == "(True, True, {'a': 1, 'b': 2, 'c': 3}, 2)"
    notebook.good("%%rpc_call\nfirst.options = K.options; again = K.options")
    assert notebook.good("first.options is again is options is K.options").result == "True"


def test_an_instance_leaves_what_its_class_shares(notebook: Any) -> None:
    """One that is sent for the first time does not bring along anew what the session has."""
    notebook.good("class K: log = []\none, two = K(), K()")
    notebook.good("%%rpc_call\none.log_of_class = K.log")
    assert notebook.good("%%rpc_call\ntwo\none.log_of_class is K.log").result == "True"
    assert notebook.good("one.log_of_class is K.log").result == "True"


def test_an_equal_object_takes_the_place_of_another(notebook: Any) -> None:
    """What was put into a container is shared with its variable, also where an equal one was there before."""
    notebook.good("items = []; box = {'items': []}; other = {'items': []}")
    notebook.good("%%rpc_call\nbox['items'] = items")
    assert notebook.good("items.append(1); box['items'] is items, box").result == "(True, {'items': [1]})"
    notebook.good("items.clear()")
    notebook.good("%%rpc_call\nitems, other")
    notebook.good("other['items'] = items")
    assert notebook.good("%%rpc_call\nitems.append(2)\nother").result == "{'items': [2]}"


def test_the_text_of_a_function_that_was_made_there_is_known(notebook: Any) -> None:
    """Tracebacks of here show its lines, and so does `inspect`; also those of another session that it is sent to."""
    notebook.good("%%rpc_call\ndef divide(x):\n    return x / 0  # as text")
    failed = notebook.run("divide(1)")
    assert failed.error == "ZeroDivisionError"
    assert "return x / 0  # as text" in failed.traceback
    assert notebook.good("import inspect; 'as text' in inspect.getsource(divide)").result == "True"
    notebook.good(
        "call = get_ipython().run_cell_magic('rpc_call', '--noblock', 'def late(x): return x / 0  # late')"
    )
    notebook.good("call.result()")
    assert "return x / 0  # late" in notebook.run("late(1)").traceback


def test_what_a_function_has_stored_is_told_not_to_travel(notebook: Any) -> None:
    """Once, and only where it is something that can be changed."""
    notebook.good("import functools\n@functools.lru_cache\ndef settings(): return {}\nsettings()['x'] = 1")
    notebook.good("@functools.cache\ndef square(x): return x * x\nsquare(2)")
    assert "square" not in notebook.good("%%rpc_call\nsquare(3)").err
    assert "the results that settings has stored" in notebook.good("%%rpc_call\nsettings()").err
    notebook.good("settings.cache_clear(); settings()")
    assert notebook.good("%%rpc_call\nsettings()").err == ""
    notebook.good("@functools.cache\ndef parts(*names): return list(names)\nparts('a'); parts('b')")
    assert "the results that parts has stored" in notebook.good("%%rpc_call\nparts('a')").err


def test_a_singleton_keeps_what_was_set_there(notebook: Any) -> None:
    """Its class returns the one that is here when it comes back."""
    notebook.good(
        "class One:\n    it = None\n    def __new__(cls):\n"
        "        if cls.it is None: cls.it = super().__new__(cls)\n        return cls.it\none = One()"
    )
    notebook.good("%%rpc_call\none.value = 3")
    assert notebook.good("one.value, One() is one, One().value").result == "(3, True, 3)"


def test_what_a_nested_class_and_a_variable_share(notebook: Any) -> None:
    """A class in a class is taken over with it."""
    notebook.good("%%rpc_call\nclass Outer:\n    class Inner: log = []\nlog = Outer.Inner.log")
    notebook.good("log.append(1)")
    assert notebook.good("%%rpc_call\nOuter.Inner.log.append(2); log").result == "[1, 2]"
    assert notebook.good("log is Outer.Inner.log, log").result == "(True, [1, 2])"


def test_a_tuple_stays_though_its_items_are_changed_there(notebook: Any) -> None:
    """Its items are the objects that they were, and nothing has to be told."""
    notebook.good("pair = ([], {'a': 1}, 'text', (1000, [0])); items = pair[0]; kept = pair")
    assert notebook.good("%%rpc_call\nitems.append(1); pair[1]['b'] = 2; pair[3][1].append(1)").err == ""
    assert notebook.good("kept is pair, pair[0] is items, pair").result == (
        "(True, True, ([1], {'a': 1, 'b': 2}, 'text', (1000, [0, 1])))"
    )
