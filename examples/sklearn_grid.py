"""scikit-learn on a grid: after `register_joblib()`, whatever takes `n_jobs=-1` runs there.

scikit-learn sends Python objects, pickled, so this works on grids of your own: `crowdgrid.local()`, or the hub that
`crowdgrid up` started on this machine. The parameters found, and every score, are those found here alone.
"""

import sys

import crowdgrid as cg

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC
except ImportError:
    sys.exit("This example needs scikit-learn: pip install scikit-learn")

PARAMETERS = {"C": [0.1, 1, 10], "gamma": [0.0001, 0.001, 0.01]}


def main() -> None:
    data, digits = load_digits(return_X_y=True)
    data, digits = data[:600], digits[:600]  # enough to see it work

    alone = GridSearchCV(SVC(), PARAMETERS, cv=4, n_jobs=1).fit(data, digits)
    cg.register_joblib()
    search = GridSearchCV(SVC(), PARAMETERS, cv=4, n_jobs=-1).fit(data, digits)

    print(f"best of {len(search.cv_results_['params'])}: {search.best_params_}, accuracy {search.best_score_:.1%}")
    same = (search.cv_results_["mean_test_score"] == alone.cv_results_["mean_test_score"]).all()
    print("the same as here alone" if same else "NOT the same as here alone")


if __name__ == "__main__":
    main()
