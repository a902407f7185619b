"""Makes an MLflow model of a tree model's file: save.py MODEL FOLDER."""
import sys

path, folder = sys.argv[1:]
if path.endswith(".txt"):
    import lightgbm
    import mlflow.lightgbm

    mlflow.lightgbm.save_model(lightgbm.Booster(model_file=path), folder, pip_requirements=["lightgbm"])
else:
    import mlflow.xgboost
    import xgboost

    booster = xgboost.Booster(model_file=path)
    booster.feature_names = None
    mlflow.xgboost.save_model(booster, folder, pip_requirements=["xgboost"])
